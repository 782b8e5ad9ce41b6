//! The revision of a node's system catalogue, as far as statements depend on it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts the changes of a node's catalogue that have been seen, and takes hints that there may be
/// another.
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
    /// The revision, from 1 on.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Takes in that the catalogue has changed: statements that were prepared before are stale.
    pub fn advance(&self) {
        self.revision.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks for a look at the catalogue: a statement behaved as if it had changed.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Ends when there is doubt.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }
}
