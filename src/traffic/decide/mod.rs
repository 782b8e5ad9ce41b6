//! The decision: which region serves a request.
//!
//! A function of plan, facts and request alone: no clock, no lock, no allocation, and an answer for
//! every request. So it is the same on every gateway, and a recorded one can be repeated.

mod decision;
mod fields;
mod governing;
mod reason;
mod request;
mod tiers;

pub use decision::{RegionDecision, Standbys, Target, decide};
pub use governing::{Mismatch, governing, mismatch};
pub use reason::RegionReason;
pub use request::{HINTS_MAX, Request, hint_of};

#[cfg(test)]
mod tests;
