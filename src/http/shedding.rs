//! Refuses at once requests that cannot be served in time.
//!
//! This file bounds the requests in flight; a node's pool judges whether a connection will be free in
//! time. A request is in flight while nodes are contacted for it, all attempts included, until the
//! head of an answer is available: idle connections, bodies that have yet to arrive and answers from
//! memory take no room, so that no client can hold any by being slow. Only bodies that are streamed
//! to an upstream do; `body_timeout` and the upstream's `connections_max` bound that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::concurrency_limit::{ConcurrencyLimit, Permit};
use super::limit_error::Overloaded;
use super::shed_reason::ShedReason;
use tidegate_telemetry::{Throttle, names};

/// Sheds come in floods: each is counted, and one line per second reports them.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// The room of a process for requests in flight, and the count of those it had to refuse.
pub struct Shedding {
    requests: ConcurrencyLimit,
    warnings: Mutex<Throttle>,
}

impl Shedding {
    /// Makes room for the given number of requests in flight.
    #[must_use]
    pub fn new(requests_max: usize) -> Self {
        for reason in ShedReason::ALL {
            metrics::counter!(names::SHEDS, "reason" => reason.as_str()).increment(0);
        }
        Self {
            requests: ConcurrencyLimit::new(
                requests_max,
                metrics::gauge!(names::REQUESTS_IN_FLIGHT),
            ),
            warnings: Mutex::new(Throttle::new(WARNING_INTERVAL)),
        }
    }

    /// Takes room for one request at once or not at all.
    ///
    /// # Errors
    /// `overloaded` if there is none.
    pub fn enter(&self) -> Result<Permit<'_>, Overloaded> {
        self.requests.enter().ok_or(Overloaded)
    }

    /// Returns the share of the room that is taken, from 0 to 1.
    #[must_use]
    pub fn taken(&self) -> f64 {
        let count = self.requests.count();
        (count - self.requests.free()) as f64 / count.max(1) as f64
    }

    /// Counts a request that was refused for lack of room.
    pub fn note(&self, reason: ShedReason) {
        let reason = reason.as_str();
        metrics::counter!(names::SHEDS, "reason" => reason).increment(1);
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(suppressed) = warnings.pass(Instant::now()) {
            tracing::warn!(reason, suppressed, "overloaded: requests are refused");
        }
    }
}
