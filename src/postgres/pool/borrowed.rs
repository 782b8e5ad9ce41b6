//! A connection from the pool.

use std::time::Duration;

use deadpool::managed::Object;
use tokio::time::timeout;

use super::connection::{ConnectionManager, NodeConnection};
use super::connection_limit::Slot;
use super::turnover::Held;

/// How long unneeded answers may keep a connection busy before it is closed, which also ends the
/// statement.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A connection from the pool, and the slot that it takes.
pub(super) type Slotted = (Object<ConnectionManager>, Slot);

/// A connection from the pool. Dropping it without [`Borrowed::settle`] closes it.
pub(super) struct Borrowed {
    object: Option<Object<ConnectionManager>>,
    round_trip: Duration,
    held: Held,
    slot: Slot,
}

impl Borrowed {
    pub(super) fn new((object, slot): Slotted, held: Held, round_trip: Duration) -> Self {
        Self {
            object: Some(object),
            round_trip,
            held,
            slot,
        }
    }

    /// Lets several reads share it.
    pub(super) fn share(&mut self) {
        self.held.share();
    }

    pub(super) fn connection(&self) -> &NodeConnection {
        self.object
            .as_ref()
            .expect("it holds its connection until it is settled or dropped")
    }

    /// Whether it was opened for this lease.
    pub(super) fn is_new(&self) -> bool {
        let metrics = self.object.as_ref().map(Object::metrics);
        metrics.is_some_and(|metrics| metrics.recycle_count == 0)
    }

    pub(super) fn settle(mut self) -> Duration {
        if !self.slot.is_surplus() {
            drop(self.object.take());
        }
        let held = self.held.since().elapsed();
        held.saturating_sub(self.round_trip)
    }

    pub(super) fn settle_later(self) {
        tokio::spawn(async move {
            // The server answers in order.
            let drained = self.connection().client.simple_query("");
            if let Ok(Ok(_)) = timeout(LATE_MAX, drained).await {
                self.settle();
            }
        });
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
