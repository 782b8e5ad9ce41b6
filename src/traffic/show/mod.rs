//! A compiled policy in the words of the language: groups resolved, defaults filled in.

mod plan;
mod words;

pub use plan::{Shown, ShownClauses, ShownPolicy, ShownRegion, ShownWindow, show};
