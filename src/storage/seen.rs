//! Buckets as this gateway sees them, for the terminal and the page of operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Store;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BucketSeen {
    /// Its name.
    pub bucket: String,
    /// Its provider.
    #[schemars(extend("enum" = ["aws", "gcp", "azure", "s3", "file"]))]
    pub provider: String,
    /// `ONLINE`, `DISCONNECTED` or `OFFLINE`.
    #[schemars(extend("enum" = ["ONLINE", "DISCONNECTED", "OFFLINE"]))]
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
    /// Of a mirror, blobs that it should have by now, up to 100,000; absent if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_backlog: Option<u64>,
    /// For how long the oldest of them should have been there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_late_seconds: Option<f64>,
}

impl Store {
    /// All buckets; nothing is awaited.
    #[must_use]
    pub fn buckets_seen(&self) -> Vec<BucketSeen> {
        let (inventory, now) = (self.inventory.load(), Instant::now());
        let seen = |index: usize| {
            let bucket = &inventory.buckets[index];
            let late = bucket.live.late();
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
                mirror_backlog: late.map(|late| late.blobs),
                mirror_late_seconds: late.map(|late| late.seconds),
            }
        };
        (0..inventory.buckets.len()).map(seen).collect()
    }
}
