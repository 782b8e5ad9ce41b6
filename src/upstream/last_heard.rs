//! When a node last gave a sign of life.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// The newest sign of life of one node, recorded by all requests without a lock.
#[derive(Debug)]
pub(super) struct LastHeard {
    /// In microseconds since `started`.
    at_us: AtomicU64,
    started: Instant,
}

impl LastHeard {
    /// Starts without a sign of life.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at_us: AtomicU64::new(0),
            started: now,
        }
    }

    /// Records a sign of life.
    pub(super) fn note(&self, now: Instant) {
        self.at_us.fetch_max(self.micros(now), Ordering::Relaxed);
    }

    /// Whether nothing has been received since then.
    pub(super) fn is_before(&self, then: Instant) -> bool {
        self.at_us.load(Ordering::Relaxed) < self.micros(then)
    }

    fn micros(&self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.started);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn silence_ends_with_any_sign_of_life() {
        let now = Instant::now();
        let heard = LastHeard::new(now);
        let sent = now + MS;
        assert!(heard.is_before(sent));
        heard.note(sent + MS);
        assert!(!heard.is_before(sent));
        assert!(heard.is_before(sent + 2 * MS));
    }
}
