//! A bound on the number of concurrent requests; a gauge shows the current number.

use metrics::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Allows a bounded number of requests to be in progress.
pub struct ConcurrencyLimit {
    free: Semaphore,
    count: usize,
    taken: Gauge,
}

/// Room for one request; dropping it frees the room.
pub struct Permit<'a> {
    _permit: SemaphorePermit<'a>,
    taken: &'a Gauge,
}

impl ConcurrencyLimit {
    /// Starts with all of its room free.
    pub fn new(count: usize, taken: Gauge) -> Self {
        taken.set(0.0);
        Self {
            free: Semaphore::new(count),
            count,
            taken,
        }
    }

    /// How many requests may be in progress.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of further requests that there is room for.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes room at once or not at all: a queue here would only be a slower refusal.
    pub fn enter(&self) -> Option<Permit<'_>> {
        let permit = self.free.try_acquire().ok()?;
        self.taken.increment(1);
        Some(Permit {
            _permit: permit,
            taken: &self.taken,
        })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.taken.decrement(1);
    }
}
