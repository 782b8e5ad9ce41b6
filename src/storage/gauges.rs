//! What Prometheus sees of buckets.

use std::collections::HashMap;

use metrics::gauge;
use tidegate_telemetry::names;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::database::Owed;
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
        if let Some(limit) = bucket.row.soft_limit() {
            gauge!(names::STORAGE_SOFT_CAP, "bucket" => name()).set(float(limit));
        }
        if let Some(quota) = bucket.row.declared.quota {
            let left = quota.saturating_sub(bucket.live.held());
            gauge!(names::STORAGE_QUOTA_LEFT, "bucket" => name()).set(float(left));
        }
    }
}

/// Counts the copies in every bucket.
pub(super) async fn show_copies(store: &Store) -> Result<(), StorageError> {
    let rows = store
        .index
        .database
        .read(Owed::EVENTUAL, COPIES, &[])
        .await?
        .rows;
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
