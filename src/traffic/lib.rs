//! The traffic policy: which region serves a request, decided the same way on every gateway.
//!
//! A policy is text ([`syntax`]); [`compile`] checks it, runs its tests and turns it into a
//! [`plan::Plan`]. From that, the current facts ([`facts`]) and a request, [`decide`] finds the
//! region.
//!
//! Pure: no clock, no lock, no socket. Everything that depends on time is passed as `now` or as
//! masks.

pub mod place;
pub mod hash;
pub mod plan;
pub mod facts;
pub mod health;
pub mod decide;
pub mod receipt;
pub mod schedule;
pub mod syntax;
mod check;
mod testing;
mod compile;
pub mod show;

pub use check::values::ramp_position;
pub use compile::{Compiled, TestResult, compile};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod random;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod fuzzed;
