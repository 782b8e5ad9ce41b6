//! What Prometheus sees of buckets.

use std::collections::{HashMap, HashSet};

use metrics::gauge;
use tidegate_telemetry::names;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::inventory::Inventory;
use super::statistics::BucketStatus;
use super::{StorageError, Store};

/// Reads all copies, which takes its time.
const COPIES: &str = "select bucket, state, count(*) from tidegate.storage_copy group by 1, 2";
const STATES: [&str; 4] = ["stored", "reserved", "suspect", "doomed"];

/// Shows what this gateway knows of every bucket.
pub(super) fn show_buckets(inventory: &Inventory) {
    let now = Instant::now();
    for (index, bucket) in inventory.buckets.iter().enumerate() {
        let name = || bucket.name().to_owned();
        let status = inventory.status(index, now);
        for (label, it) in [
            ("online", BucketStatus::Online),
            ("disconnected", BucketStatus::Disconnected),
            ("offline", BucketStatus::Offline),
        ] {
            let is_it = f64::from(u8::from(status == it));
            gauge!(names::STORAGE_BUCKET_STATUS, "bucket" => name(), "status" => label).set(is_it);
        }
        let latency = inventory.selector.latency(index).as_secs_f64();
        gauge!(names::STORAGE_LATENCY, "bucket" => name()).set(latency);
        let slo = inventory.read_slo(index);
        let is_over = slo.is_some_and(|slo| inventory.slow(index, now) > slo);
        gauge!(names::STORAGE_OVER_SLO, "bucket" => name()).set(f64::from(u8::from(is_over)));
        gauge!(names::STORAGE_WRITTEN, "bucket" => name()).set(float(bucket.live.written()));
        let limit = bucket.row.soft_limit().map_or(f64::NAN, float);
        gauge!(names::STORAGE_SOFT_CAP, "bucket" => name()).set(limit);
        let quota = bucket.row.declared.quota;
        let left = quota.map(|quota| quota.saturating_sub(bucket.live.held()));
        gauge!(names::STORAGE_QUOTA_LEFT, "bucket" => name()).set(left.map_or(f64::NAN, float));
    }
}

/// Shows of buckets that are gone that nothing is known; returns the names of those that there are.
pub(super) fn show_gone(shown: &HashSet<String>, inventory: &Inventory) -> HashSet<String> {
    let buckets = inventory.buckets.iter();
    let present: HashSet<_> = buckets.map(|bucket| bucket.name().to_owned()).collect();
    for gone in shown.difference(&present) {
        for name in [
            names::STORAGE_LATENCY,
            names::STORAGE_WRITTEN,
            names::STORAGE_SOFT_CAP,
            names::STORAGE_QUOTA_LEFT,
        ] {
            gauge!(name, "bucket" => gone.clone()).set(f64::NAN);
        }
        gauge!(names::STORAGE_OVER_SLO, "bucket" => gone.clone()).set(0.0);
        for status in ["online", "disconnected", "offline"] {
            gauge!(names::STORAGE_BUCKET_STATUS, "bucket" => gone.clone(), "status" => status)
                .set(0.0);
        }
        for state in STATES {
            gauge!(names::STORAGE_COPIES, "bucket" => gone.clone(), "state" => state).set(0.0);
        }
    }
    present
}

/// Counts the copies in every bucket.
pub(super) async fn show_copies(store: &Store) -> Result<(), StorageError> {
    let rows = store.index.database.read_much(COPIES, &[]).await?;
    let count = |row: &Row| {
        let of: (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let count: i64 = row.try_get(2)?;
        Ok((of, u64::try_from(count).unwrap_or_default()))
    };
    let counts: Result<HashMap<_, _>, tokio_postgres::Error> = rows.iter().map(count).collect();
    let mut counts = counts?;
    for bucket in &store.inventory.load().buckets {
        for state in STATES {
            let of = (bucket.row.id.clone(), state.to_owned());
            let count = counts.remove(&of).unwrap_or_default();
            let name = bucket.name().to_owned();
            gauge!(names::STORAGE_COPIES, "bucket" => name, "state" => state).set(float(count));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "as all numbers of Prometheus")]
fn float(number: u64) -> f64 {
    number as f64
}
