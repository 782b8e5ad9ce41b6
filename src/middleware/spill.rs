//! What the primary does for replicas that cannot serve, so that it is never drowned by it.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::telemetry::names;

/// How many reads the primary serves at the same time in place of a replica.
pub struct Spill {
    room: Semaphore,
    concurrency_max: usize,
}

/// Room for one read; it is free again when this is dropped.
pub(super) struct Room<'a> {
    permit: Option<SemaphorePermit<'a>>,
    spill: &'a Spill,
}

impl Spill {
    /// Starts with all of its room free.
    #[must_use]
    pub fn new(concurrency_max: usize) -> Self {
        Self {
            room: Semaphore::new(concurrency_max),
            concurrency_max,
        }
    }

    /// How many reads are served at most.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.concurrency_max
    }

    /// How many are served now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.concurrency_max - self.room.available_permits()
    }

    pub(super) fn has_room(&self) -> bool {
        self.room.available_permits() > 0
    }

    /// Takes room for one read at once, or none: a queue here would only be a slower refusal.
    pub(super) fn enter(&self) -> Option<Room<'_>> {
        let entered = self.room.try_acquire().ok();
        let result = match entered {
            Some(_) => "served",
            None => "refused",
        };
        metrics::counter!(names::SPILL, "result" => result).increment(1);
        let room = entered.map(|permit| Room {
            permit: Some(permit),
            spill: self,
        });
        self.publish();
        room
    }

    fn publish(&self) {
        metrics::gauge!(names::SPILL_ACTIVE).set(self.active() as f64);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.permit = None;
        self.spill.publish();
    }
}
