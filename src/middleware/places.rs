//! A bounded number of places, each for one request; a gauge shows how many are taken.

use metrics::Gauge;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The places.
pub(super) struct Places {
    free: Semaphore,
    count: usize,
    taken: Gauge,
}

/// One that is taken; it is free again when this is dropped.
pub(super) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    taken: &'a Gauge,
}

impl Places {
    /// Starts with all of them free.
    pub(super) fn new(count: usize, taken: Gauge) -> Self {
        taken.set(0.0);
        Self {
            free: Semaphore::new(count),
            count,
            taken,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes one at once or not at all: a queue here would only be a slower refusal.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        let permit = self.free.try_acquire().ok()?;
        self.taken.increment(1);
        Some(Place {
            _permit: permit,
            taken: &self.taken,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.taken.decrement(1);
    }
}
