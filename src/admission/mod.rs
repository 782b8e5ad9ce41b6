//! Who may go on: what one client has left of a policy row's rate limit.

mod client;
mod generations;
mod rate_limits;

pub use client::{Client, client_address};
pub use rate_limits::{LimitedRow, RateLimits, Spent, whole_seconds};
