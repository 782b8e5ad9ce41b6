//! One fetch for any number of requests: a leader, and followers that wait for its landing.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Entry, Key, ResponseCache};

/// Where a flight's landing is announced; the map of flights and the leader share it.
pub(super) type Landing<L> = Arc<watch::Sender<Option<L>>>;

/// The right and duty to fetch a key, held by one task at a time. If it is dropped without landing,
/// the followers get no answer.
pub struct Leader<O, L> {
    cache: Arc<ResponseCache<O, L>>,
    key: Key,
    landing: Landing<L>,
}

impl<O, L> Leader<O, L> {
    pub(super) fn new(cache: Arc<ResponseCache<O, L>>, key: Key, landing: Landing<L>) -> Self {
        Self {
            cache,
            key,
            landing,
        }
    }

    /// Returns a way to wait for the landing, for the request that leads.
    pub fn follower(&self) -> Follower<L> {
        Follower::new(&self.landing, metrics::Gauge::noop())
    }

    /// Stores an answer. Returns false if it is not stored: it is too large or too old, or the path
    /// was purged while it was being fetched.
    pub fn store(&self, entry: &Arc<Entry<O>>, now: Instant) -> bool {
        self.cache.store(&self.key, &self.landing, entry, now)
    }

    /// Removes what is stored, because it no longer exists.
    pub fn forget(&self) {
        self.cache.forget(&self.key, &self.landing);
    }

    /// Ends the flight and wakes the followers.
    pub fn land(self, landing: L) {
        // Removed before they are woken: a request that arrives now uses the store, not this
        // flight.
        self.cache.end(&self.key, &self.landing);
        self.landing.send_replace(Some(landing));
    }
}

impl<O, L> Drop for Leader<O, L> {
    fn drop(&mut self) {
        self.cache.end(&self.key, &self.landing);
    }
}

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
    /// Returns the result of the flight; none if it ended without landing. Cancel-safe.
    pub async fn landed(mut self) -> Option<L> {
        let landing = self.landing.wait_for(Option::is_some).await;
        landing.ok()?.clone()
    }
}
