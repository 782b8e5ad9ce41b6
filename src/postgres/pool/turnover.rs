//! Leases as seen by requests that wait for one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection_limit::ConnectionLimit;
use super::queue_delay::QueueDelay;

/// The rate at which the connections to one node are released.
#[derive(Default)]
pub(super) struct Turnover(Mutex<State>);

#[derive(Default)]
struct State {
    pace: QueueDelay,
    ended: Ended,
}

/// The leases that have ended in a period.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended {
    /// Those of requests that used a connection alone.
    pub(super) alone: u32,
    /// How long these held their connections in total.
    pub(super) held: Duration,
    /// Whether reads shared a connection.
    pub(super) shared: bool,
}

/// One lease; dropping it ends it.
pub(super) struct Held {
    turnover: Arc<Turnover>,
    since: Instant,
    shared: bool,
}

impl Turnover {
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held {
            turnover: Arc::clone(self),
            since: Instant::now(),
            shared: false,
        }
    }

    /// Lets one more request wait for a connection, if it will get one within `patience`.
    pub(super) fn admit(
        &self,
        limit: &ConnectionLimit,
        patience: Duration,
    ) -> Result<(), Duration> {
        let connections = limit.max();
        match limit.users().checked_sub(connections) {
            None => {
                self.state().pace.relax();
                Ok(())
            }
            Some(waiting) => {
                let now = Instant::now();
                let pace = &mut self.state().pace;
                pace.admit(waiting, connections, patience, now)
            }
        }
    }

    /// Returns the leases that have ended since the last call.
    pub(super) fn ended(&self) -> Ended {
        std::mem::take(&mut self.state().ended)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts are consistent at every moment, even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// When the lease began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Records that several reads share the connection.
    pub(super) fn share(&mut self) {
        self.shared = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.turnover.state();
        state.pace.depart(now);
        match self.shared {
            true => state.ended.shared = true,
            false => {
                state.ended.alone += 1;
                state.ended.held += now.saturating_duration_since(self.since);
            }
        }
    }
}
