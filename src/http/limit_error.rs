//! Requests that are refused before anything is done for them.

use std::time::Duration;

use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::shed_reason::ShedReason;
use tidegate_policy::RateLimit;

/// The maximum number of requests is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are being served")]
pub struct Overloaded;

/// The client is over its limit on the path's policy row.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this client has sent too many requests: the limit here is {limit}")]
pub struct RateLimited {
    /// The limit of the row.
    pub limit: RateLimit,
    /// When the next request may succeed.
    pub wait: Duration,
}

impl From<Overloaded> for Problem {
    fn from(error: Overloaded) -> Self {
        Self::of(ProblemKind::Overloaded, error).shed(ShedReason::RequestsMax)
    }
}

impl From<RateLimited> for Problem {
    fn from(error: RateLimited) -> Self {
        let wait = error.wait;
        Self::of(ProblemKind::RateLimited, error).retry_after(wait)
    }
}
