//! Who may go on: what one client has left of a policy row's rate limit, and whether a queue is worth
//! joining.

mod client;
mod generations;
mod pace;
mod rate_limits;

pub use client::{Client, client_address};
pub use pace::Pace;
pub use rate_limits::{LimitedRow, RateLimits, Spent, whole_seconds};
