//! The revision of a node's system catalogue, to the extent that statements depend on it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts the changes of a node's catalogue that have been seen, and accepts hints that there may
/// be another.
#[derive(Debug)]
pub struct Catalogue {
    revision: AtomicU64,
    doubted: Notify,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            revision: AtomicU64::new(1),
            doubted: Notify::new(),
        }
    }
}

impl Catalogue {
    /// The revision, starting with 1.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Records that the catalogue has changed: statements that were prepared before are stale.
    pub fn advance(&self) {
        self.revision.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests a check of the catalogue, because a statement behaved as if it had changed.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Completes when a check is requested.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }
}
