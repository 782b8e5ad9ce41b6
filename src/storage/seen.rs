//! Buckets as this gateway sees them, for the terminal and the page of operators.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Store;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketSeen {
    /// Its name.
    pub bucket: String,
    /// Its provider.
    pub provider: String,
    /// `ONLINE`, `DISCONNECTED` or `OFFLINE`.
    pub status: String,
    /// Average time to the first byte.
    pub latency_ms: f64,
    /// Whether it takes writes.
    pub writes: bool,
    /// Bytes written in this month, and up to which it is preferred.
    pub written_bytes: u64,
    /// Absent without a credit.
    pub soft_limit_bytes: Option<u64>,
    /// Bytes that it holds, and may hold.
    pub held_bytes: u64,
    /// Absent without a quota.
    pub quota_bytes: Option<u64>,
}

impl Store {
    /// All buckets; nothing is awaited.
    #[must_use]
    pub fn buckets_seen(&self) -> Vec<BucketSeen> {
        let (inventory, now) = (self.inventory.load(), Instant::now());
        let seen = |index: usize| {
            let bucket = &inventory.buckets[index];
            BucketSeen {
                bucket: bucket.name().to_owned(),
                provider: bucket.row.declared.provider.to_string(),
                status: inventory.status(index, now).as_str().to_owned(),
                latency_ms: inventory.selector.latency(index).as_secs_f64() * 1_000.0,
                writes: bucket.row.writes,
                written_bytes: bucket.live.written(),
                soft_limit_bytes: bucket.row.soft_limit(),
                held_bytes: bucket.live.held(),
                quota_bytes: bucket.row.declared.quota,
            }
        };
        (0..inventory.buckets.len()).map(seen).collect()
    }
}
