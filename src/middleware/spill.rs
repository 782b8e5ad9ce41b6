//! What the primary does for replicas that cannot serve, so that it is never drowned by it.

use metrics::Counter;

use super::places::{Place, Places};
use tidegate_telemetry::names;

/// How many reads the primary serves at the same time in place of a replica.
pub struct Spill {
    places: Places,
    served: Counter,
    refused: Counter,
}

impl Spill {
    /// Starts with all of its room free.
    #[must_use]
    pub fn new(concurrency_max: usize) -> Self {
        let counter = |result: &'static str| {
            let counter = metrics::counter!(names::SPILL, "result" => result);
            counter.increment(0);
            counter
        };
        Self {
            places: Places::new(concurrency_max, metrics::gauge!(names::SPILL_ACTIVE)),
            served: counter("served"),
            refused: counter("refused"),
        }
    }

    /// How many reads are served at most.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.places.count()
    }

    /// How many are served now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.places.count() - self.places.free()
    }

    pub(super) fn has_room(&self) -> bool {
        self.places.free() > 0
    }

    /// Takes room for one read, and counts it, or that there was none.
    pub(super) fn enter(&self) -> Option<Place<'_>> {
        let room = self.places.take();
        match room {
            Some(_) => self.served.increment(1),
            None => self.refused.increment(1),
        }
        room
    }
}
