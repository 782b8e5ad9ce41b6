//! The meaning of a text, and its errors beyond the grammar.
//!
//! Each rule considers only what was understood, so that an error is reported once, at its place.

mod capacity;
mod checked;
pub(crate) mod clauses;
pub(crate) mod conditions;
pub(crate) mod draft;
pub(crate) mod fields;
pub(crate) mod names;
mod policies;
mod reach;
mod rules;
pub(crate) mod space;
mod survival;
pub(crate) mod times;
mod together;
pub(crate) mod values;
mod windows;

pub(crate) use checked::{Checked, check};

#[cfg(test)]
mod tests;
