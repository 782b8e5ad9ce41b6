//! Leases seen by those who wait for one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection_limit::ConnectionLimit;
use super::queue_delay::QueueDelay;

/// The pace at which the connections to one node change hands.
#[derive(Default)]
pub(super) struct Turnover(Mutex<QueueDelay>);

/// One lease: dropping it is its end.
pub(super) struct Held(Arc<Turnover>);

impl Turnover {
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held(Arc::clone(self))
    }

    /// Lets one more request ask for a connection, if it gets one within `patience`.
    pub(super) fn admit(
        &self,
        limit: &ConnectionLimit,
        patience: Duration,
    ) -> Result<(), Duration> {
        let connections = limit.max();
        match limit.users().checked_sub(connections) {
            None => {
                self.with(QueueDelay::relax);
                Ok(())
            }
            Some(waiting) => {
                let now = Instant::now();
                self.with(|pace| pace.admit(waiting, connections, patience, now))
            }
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut QueueDelay) -> T) -> T {
        // Counts are whole at every moment, also after a panic.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Self(turnover) = self;
        turnover.with(|pace| pace.depart(Instant::now()));
    }
}
