//! Whether this process is draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// A shared flag that turns once, from serving to draining.
///
/// Clones share the flag; reading it is cheap enough for every request, cloning it is not.
#[derive(Debug, Clone)]
pub struct Drain(Arc<Flag>);

#[derive(Debug)]
struct Flag {
    /// The same as is watched, whose lock is too much for every request.
    has_begun: AtomicBool,
    watched: watch::Sender<bool>,
}

impl Drain {
    /// Creates a flag in the serving state.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Flag {
            has_begun: AtomicBool::new(false),
            watched: watch::Sender::new(false),
        }))
    }

    /// Turns the flag; turning it again changes nothing.
    pub fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Release);
        self.0.watched.send_replace(true);
    }

    /// Returns whether the drain has begun: readiness and health checks fail from then on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.has_begun.load(Ordering::Acquire)
    }

    /// Waits until the drain has begun. Cancel-safe.
    pub async fn begun(&self) {
        // `self` keeps the sender alive, so waiting cannot fail.
        let mut watch = self.0.watched.subscribe();
        let _ = watch.wait_for(|draining| *draining).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_drain_begin() {
        let drain = Drain::new();
        let clone = drain.clone();
        assert!(!clone.is_draining());
        drain.begin();
        drain.begin();
        clone.begun().await;
        assert!(clone.is_draining());
    }
}
