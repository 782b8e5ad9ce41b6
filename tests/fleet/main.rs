//! Whole fleets in virtual time, by the crate's own interface: what a driver does, without its sockets.
//!
//! Everything is drawn from a seed, so a failure repeats.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is how something missing is reported"
)]
mod network;
mod gateway;
mod world;
mod driver;
mod spreading;
mod failing;
mod standing_still;
mod draining;
mod probing;
mod renewing;
mod scale;
