//! Limits the reads that the primary serves for replicas that cannot, so that they never overload
//! it.

use metrics::Counter;

use crate::http::{ConcurrencyLimit, Permit};
use tidegate_telemetry::names;

/// How many reads the primary serves at the same time in place of a replica.
pub struct Spill {
    room: ConcurrencyLimit,
    served: Counter,
    refused: Counter,
}

impl Spill {
    /// Starts with all room free.
    #[must_use]
    pub fn new(concurrency_max: usize) -> Self {
        let counter = |result: &'static str| {
            let counter = metrics::counter!(names::SPILL, "result" => result);
            counter.increment(0);
            counter
        };
        Self {
            room: ConcurrencyLimit::new(concurrency_max, metrics::gauge!(names::SPILL_ACTIVE)),
            served: counter("served"),
            refused: counter("refused"),
        }
    }

    /// How many reads are served at most.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.room.count()
    }

    /// How many are served now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.room.count() - self.room.free()
    }

    pub(super) fn has_room(&self) -> bool {
        self.room.free() > 0
    }

    /// Takes room for one read, and counts it, or that there was none.
    pub(super) fn enter(&self) -> Option<Permit<'_>> {
        let room = self.room.enter();
        match room {
            Some(_) => self.served.increment(1),
            None => self.refused.increment(1),
        }
        room
    }
}
