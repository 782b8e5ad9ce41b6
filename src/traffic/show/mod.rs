//! A compiled policy in the words of the language: groups resolved, defaults filled in.

mod explain;
mod plan;
mod words;

pub use explain::{Explained, ExplainedPolicy, explain};
pub use plan::{Shown, ShownClauses, ShownPolicy, ShownRegion, ShownWindow, show};
