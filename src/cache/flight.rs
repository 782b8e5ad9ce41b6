//! Followers: requests that wait for the fetch of another.

use std::sync::Arc;

use tokio::sync::watch;

/// The channel that announces a flight's landing; the map of flights and the leader share it.
pub(super) type Landing<L> = Arc<watch::Sender<Option<L>>>;

/// Waits for a flight, and is counted as waiting until it is dropped.
pub struct Follower<L> {
    landing: watch::Receiver<Option<L>>,
    waiting: metrics::Gauge,
}

impl<L> Follower<L> {
    pub(super) fn new(landing: &Landing<L>, waiting: metrics::Gauge) -> Self {
        waiting.increment(1.0);
        Self {
            landing: landing.subscribe(),
            waiting,
        }
    }
}

impl<L> Drop for Follower<L> {
    fn drop(&mut self) {
        self.waiting.decrement(1.0);
    }
}

impl<L: Clone> Follower<L> {
    /// Returns the result of the flight; `None` if it ended without landing. Cancel-safe.
    pub async fn outcome(mut self) -> Option<L> {
        let landing = self.landing.wait_for(Option::is_some).await;
        landing.ok()?.clone()
    }
}
