//! Health: from observations of regions to which of them have left.
//!
//! Pure: time is passed as the time since some start, and never goes back.

mod board;
mod machine;
mod quantities;
mod reach;
mod samples;

pub use board::{Board, Reading};
pub use machine::State;
pub use quantities::Quantities;
pub use samples::{Outcome, Samples, Summary};

#[cfg(test)]
mod tests;
