//! Deletes what is no longer needed: versions that were replaced, and what crashes have left. Every bucket
//! is swept by itself, so that one that does not answer holds no other up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::backend::BucketBackend;
use super::fault::Fault;
use super::inventory::Inventory;
use super::object_name::{ObjectName, VendorObject};
use super::rounds::in_every_bucket;
use super::rows::Rows;
use super::store::Store;
use super::version::json;
use super::{Registry, StorageError};

/// Claims a hundred copies for a minute: longer than it takes to delete so many. A copy whose bucket did
/// not answer is tried again after it.
const CLAIM_SQL: &str = "select id, upload, reserved, vendor::text, adopted from tidegate.storage_claim($1, 100, interval '60 s')";
/// Gives uploads up that were begun a week ago.
const EXPIRE_SQL: &str = "select tidegate.storage_abort(repository, key, id, interval '0 s') \
     from tidegate.storage_upload where started < now() - interval '7 days' limit 100";
/// Forgets copies; returns their bytes.
const FORGET_SQL: &str = "select (select coalesce(sum(bytes), 0)::bigint from tidegate.storage_copy \
     where id = any ($1) and state = 'doomed'), tidegate.storage_forget($1)";
const PUT_OFF_SQL: &str = "select tidegate.storage_put_off($1)";
/// Copies of a bucket that are deleted at the same time.
const DELETES: usize = 4;
/// How long one sweep deletes in one bucket; the next one goes on.
const SWEEP_MAX: Duration = Duration::from_secs(60);

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Copies whose bytes are gone and that count no more.
    pub deleted: usize,
    /// Copies that their bucket did not delete; they are tried again later.
    pub failed: usize,
}

/// Sweeps again and again; never ends.
pub async fn sweep_forever(store: Arc<Store>) {
    let every = store.settings.sweep_interval;
    let store = &*store;
    let rows = Rows::Gateway(&store.index.database);
    let round = |_, inventory: Arc<Inventory>, index| async move {
        sweep(store, &inventory, index).await;
    };
    let expire = async {
        loop {
            sleep(every).await;
            if let Err(error) = rows.run(EXPIRE_SQL, &[]).await {
                tracing::warn!(%error, "old uploads could not be given up");
            }
        }
    };
    tokio::join!(in_every_bucket(store, every, round), expire);
}

async fn sweep(store: &Store, inventory: &Inventory, index: usize) {
    let bucket = &inventory.buckets[index];
    let rows = Rows::Gateway(&store.index.database);
    match sweep_bucket(rows, &bucket.row.id, bucket.backend()).await {
        Ok(swept) => {
            store.tally.swept(&bucket.row.id, swept.bytes);
            let (deleted, failed) = (swept.deleted, swept.failed);
            if deleted + failed > 0 {
                tracing::info!(bucket = bucket.name(), deleted, failed, "swept");
            }
            if let Some(fault) = &swept.silence {
                inventory.report(index, Some(fault), None);
            }
        }
        Err(error) => tracing::warn!(bucket = bucket.name(), %error, "sweeping failed"),
    }
}

/// Deletes all that is due, on behalf of the command line.
///
/// # Errors
/// If the database fails, or a bucket cannot be used; the others are swept before.
pub async fn sweep_once(registry: &Registry<'_>, file_root: &str) -> Result<Swept, StorageError> {
    let rows = registry.rows;
    rows.run(EXPIRE_SQL, &[]).await?;
    let (mut backends, mut unusable) = (HashMap::new(), None);
    for bucket in registry.buckets().await? {
        match BucketBackend::new(&bucket, file_root) {
            Ok(backend) => drop(backends.insert(bucket.id, backend)),
            // It holds no other up.
            Err(error) => {
                let why = format!("`{}` cannot be swept: {error}", bucket.declared.name);
                unusable = unusable.or(Some(StorageError::Invalid(why)));
            }
        }
    }
    let swept = backends
        .iter()
        .map(|(id, backend)| sweep_bucket(rows, id, backend));
    let swept = total(join_all(swept).await)?;
    unusable.map_or(Ok(swept), Err)
}

/// What was done in one bucket.
#[derive(Default)]
struct SweptBucket {
    deleted: usize,
    failed: usize,
    bytes: u64,
    /// The fault of a bucket that did not answer. What it has refused says nothing about other requests.
    silence: Option<Fault>,
}

fn total(swept: Vec<Result<SweptBucket, StorageError>>) -> Result<Swept, StorageError> {
    let mut total = Swept::default();
    for swept in swept {
        let swept = swept?;
        total.deleted += swept.deleted;
        total.failed += swept.failed;
    }
    Ok(total)
}

/// Deletes what is due in one bucket, until it does not answer or deletes nothing any more.
async fn sweep_bucket(
    rows: Rows<'_>,
    id: &str,
    backend: &BucketBackend,
) -> Result<SweptBucket, StorageError> {
    let until = Instant::now() + SWEEP_MAX;
    let mut swept = SweptBucket::default();
    while swept.silence.is_none() && Instant::now() < until {
        let claimed = rows.run(CLAIM_SQL, &[(&id, Type::TEXT)]).await?;
        let claimed = claimed.iter().map(Claimed::of);
        let claimed = claimed.collect::<Result<Vec<_>, _>>()?;
        if claimed.is_empty() {
            break;
        }
        let count = claimed.len();
        let deletes = claimed.into_iter().map(|copy| async move {
            let deleted = copy.delete(backend).await;
            (copy.id, deleted)
        });
        let mut deletes = stream::iter(deletes).buffer_unordered(DELETES);
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        while let Some((copy, deleted)) = deletes.next().await {
            let Err(fault) = deleted else {
                gone.push(copy);
                continue;
            };
            tracing::warn!(bucket = id, copy, %fault, "a copy could not be deleted");
            kept.push(copy);
            if fault.kind.is_silence() {
                swept.silence = Some(fault);
                break;
            }
        }
        swept.deleted += gone.len();
        swept.failed += count - gone.len();
        let forgotten = rows.run(FORGET_SQL, &[(&gone, Type::TEXT_ARRAY)]).await?;
        let bytes: i64 = forgotten.first().map_or(Ok(0), |row| row.try_get(0))?;
        swept.bytes += u64::try_from(bytes).unwrap_or_default();
        rows.run(PUT_OFF_SQL, &[(&kept, Type::TEXT_ARRAY)]).await?;
        if gone.is_empty() {
            break;
        }
    }
    Ok(swept)
}

/// A copy that is to be deleted.
struct Claimed {
    id: String,
    /// Its provider's id of an upload that may not be completed.
    upload: Option<String>,
    /// Whether it was reserved: it is not known whether there are bytes.
    was_reserved: bool,
    /// The provider's object, if the copy was imported.
    vendor: Option<VendorObject>,
    /// Whether that is to be deleted.
    is_adopted: bool,
}

impl Claimed {
    fn of(row: &Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: row.try_get(0)?,
            upload: row.try_get(1)?,
            was_reserved: row.try_get(2)?,
            vendor: json(row, 3)?,
            is_adopted: row.try_get(4)?,
        })
    }

    async fn delete(&self, backend: &BucketBackend) -> Result<(), Fault> {
        if let Some(vendor) = &self.vendor {
            return match self.is_adopted {
                true => delete_adopted(backend, vendor).await,
                false => Ok(()),
            };
        }
        backend.abandon(&self.id, self.upload.as_deref()).await?;
        if self.was_reserved && matches!(backend.head(&self.id).await, Ok(None)) {
            return Ok(());
        }
        backend.delete(&self.id).await
    }
}

/// Deletes an imported object, if it is still the one that was imported.
async fn delete_adopted(backend: &BucketBackend, vendor: &VendorObject) -> Result<(), Fault> {
    let object = ObjectName::Vendor(vendor);
    let present = backend.meta(&object.path()?).await?;
    // Azure's list has no quotes.
    let bare = |etag: &str| etag.trim_matches('"').to_owned();
    match present.and_then(|meta| meta.e_tag) {
        Some(etag) if bare(&etag) == bare(&vendor.etag) => backend.delete(object).await,
        _ => Ok(()),
    }
}
