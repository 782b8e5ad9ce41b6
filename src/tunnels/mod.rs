//! Requests handed on to the gateways of other regions, and their answers.
//!
//! [`Tunnels`] holds the connections that the fleet's driver has opened; a [`Parcel`] is a request as it is
//! sent over one of them. [`next`] decides what a failure means: another region, or an answer.
//! Deliberately absent: opening connections, and which region serves a request.

mod failure;
mod verdict;
mod error;
mod tunnel_metrics;
mod tunnel;
mod table;
mod answer;
mod parcel;
mod send;

pub use error::HandOnError;
pub use failure::TunnelFailure;
pub use parcel::{Parcel, Payload};
pub use send::{SendError, Sent, outcome_of};
pub use table::{Handed, HandedEnd, Tunnels};
pub(crate) use tunnel::CONNECTION_WINDOW;
pub use verdict::{Circumstances, End, Next, next};
