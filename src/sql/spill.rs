//! Limits the reads that the primary serves for replicas that cannot, so that they never overload
//! it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge};
use tokio::time::{Duration, Instant};

use super::LeastRecent;
use super::lateness::Lateness;
use super::spill_budget::{Share, SpillBudget};
use tidegate_telemetry::names;

/// A primary that queues for so long, or twice as long, counts as one that is farther away.
const DISTANCE_WINDOW: Duration = Duration::from_secs(300);

/// The reads that the primary serves in place of a replica.
pub struct Spill {
    concurrency_max: usize,
    budget: Mutex<SpillBudget>,
    distance: LeastRecent,
    lateness: Lateness,
    active: Gauge,
    served: Counter,
    refused: Counter,
}

/// Room for one read; it is free again when this is dropped.
pub(super) struct SpillPermit<'a> {
    spill: &'a Spill,
    share: Share,
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
        let active = metrics::gauge!(names::SPILL_ACTIVE);
        active.set(0.0);
        Self {
            concurrency_max,
            budget: Mutex::new(SpillBudget::new(concurrency_max, Instant::now())),
            distance: LeastRecent::over(DISTANCE_WINDOW),
            lateness: Lateness::default(),
            active,
            served: counter("served"),
            refused: counter("refused"),
        }
    }

    /// The most reads that are at work at the primary.
    #[must_use]
    pub fn concurrency_max(&self) -> usize {
        self.concurrency_max
    }

    /// How many reads are at work there now, rounded up.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    pub fn active(&self) -> usize {
        self.budget().work().ceil() as usize
    }

    pub(super) fn has_room(&self, share: Share, connections_max: usize) -> bool {
        self.budget().has_room(share, connections_max)
    }

    /// Takes room for one read, if there is any.
    pub(super) fn enter(&self, share: Share, connections_max: usize) -> Option<SpillPermit<'_>> {
        let entered = self.budget().take(share, connections_max);
        entered.then(|| {
            self.active.increment(share.work);
            SpillPermit { spill: self, share }
        })
    }

    /// Counts a read, and whether there was room for it.
    pub(super) fn count(&self, entered: bool) {
        match entered {
            true => self.served.increment(1),
            false => self.refused.increment(1),
        }
    }

    /// Returns the distance to the primary, by the time that its monitor's samples take now. These queue
    /// there like all else, so the least of recent ones counts.
    pub(super) fn distance(&self, samples_take: Duration) -> Duration {
        self.distance.add(samples_take, Instant::now())
    }

    /// Returns what the gateway itself adds to the time of an answer, because it runs late.
    pub(super) fn own_delay(&self) -> Duration {
        self.lateness.mean(Instant::now())
    }

    /// Takes in how long an answer of the primary took, without the distance and the gateway's own delay, and how long the
    /// statement takes there without load.
    pub(super) fn answered(&self, took: Duration, unloaded: Duration, round_trip: Duration) {
        let now = Instant::now();
        self.budget().answered(took, unloaded, round_trip, now);
        self.lateness.probe();
    }

    fn budget(&self) -> MutexGuard<'_, SpillBudget> {
        // A panic while it is held cannot leave a budget that is half changed.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpillPermit<'_> {
    /// Takes another share instead, of a read that is sent again on a connection of another kind. There may
    /// be no room for it: refusing what is under way would cost its answer.
    pub(super) fn change(&mut self, share: Share) {
        self.spill.budget().change(self.share, share);
        self.spill.active.increment(share.work - self.share.work);
        self.share = share;
    }
}

impl Drop for SpillPermit<'_> {
    fn drop(&mut self) {
        self.spill.budget().give_back(self.share);
        self.spill.active.decrement(self.share.work);
    }
}
