//! Deletes what is no longer needed: versions that were replaced, and what crashes have left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::backend::BucketBackend;
use super::database::{Values, execute};
use super::fault::Fault;
use super::inventory::{standing, works};
use super::store::Store;
use super::{Registry, StorageError};

/// Claims a hundred copies for a minute: longer than it takes to delete so many. A copy whose bucket did
/// not answer is tried again after it.
const CLAIM_SQL: &str =
    "select id, bucket, reserved from tidegate.storage_claim(100, interval '60 s')";
const CLAIM_VALUES: Values<'static> = &[];
/// Gives uploads up that were begun a week ago.
const EXPIRE_SQL: &str = "select tidegate.storage_abort(repository, key, id, interval '0 s') \
     from tidegate.storage_upload where started < now() - interval '7 days' limit 100";
const FORGET_SQL: &str = "select tidegate.storage_forget($1)";
/// How often a bucket that has failed is asked whether it answers again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// One that works is asked so many times less often.
const PROBES_FAILED_PER_WORKING: u32 = 10;

/// What a sweep has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Copies whose bytes are gone and that count no more.
    pub deleted: usize,
    /// Copies whose bucket did not answer; they are tried again later.
    pub failed: usize,
}

/// Sweeps again and again; never ends.
pub async fn sweep_forever(store: Arc<Store>) {
    loop {
        sleep(store.settings.sweep_interval).await;
        match store.sweep().await {
            Ok(Swept {
                deleted: 0,
                failed: 0,
            }) => {}
            Ok(Swept { deleted, failed }) => tracing::info!(deleted, failed, "swept"),
            Err(error) => tracing::warn!(%error, "sweeping failed"),
        }
    }
}

/// Asks every bucket again and again whether it answers; never ends.
pub async fn probe_forever(store: Arc<Store>) {
    let mut turn = 0;
    loop {
        store.probe(turn == 0).await;
        turn = (turn + 1) % PROBES_FAILED_PER_WORKING;
        sleep(PROBE_INTERVAL).await;
    }
}

impl Store {
    /// Deletes all that is due.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sweep(&self) -> Result<Swept, StorageError> {
        let mut all = Swept::default();
        self.index.database.write(EXPIRE_SQL, &[]).await?;
        loop {
            let swept = self.sweep_some().await?;
            all.deleted += swept.deleted;
            all.failed += swept.failed;
            if swept.deleted == 0 {
                return Ok(all);
            }
        }
    }

    async fn sweep_some(&self) -> Result<Swept, StorageError> {
        let claimed = self.index.database.write(CLAIM_SQL, CLAIM_VALUES).await?;
        let inventory = self.inventory.load_full();
        let index_of = |bucket: &str| inventory.index_of(bucket);
        let backend_of = |bucket: &str| Some(inventory.buckets[index_of(bucket)?].backend());
        let deleted = delete_all(&claimed.rows, backend_of).await?;
        for (bucket, fault) in &deleted.faults {
            if let Some(index) = index_of(bucket) {
                inventory.report(index, Some(fault), None);
            }
        }
        if !deleted.gone.is_empty() {
            let values: Values<'_> = &[(&deleted.gone, Type::TEXT_ARRAY)];
            self.index.database.write(FORGET_SQL, values).await?;
        }
        Ok(deleted.swept())
    }

    /// Asks buckets whether they answer, so that latencies are known and those that failed are used again.
    async fn probe(&self, all: bool) {
        let inventory = self.inventory.load_full();
        let selector = &inventory.selector;
        let is_due = |&index: &usize| {
            let is_closed = works(standing(&selector.ranking(Instant::now()), index).0);
            all && is_closed || selector.claim_probe(index, Instant::now())
        };
        let due = (0..inventory.buckets.len()).filter(is_due);
        let probes = due.map(|index| {
            let inventory = &inventory;
            async move {
                let started = Instant::now();
                let probed = inventory.buckets[index].backend().probe().await;
                let took = started.elapsed();
                let (fault, latency) = match probed {
                    Ok(()) => (None, Some(took)),
                    Err(fault) => (Some(fault), None),
                };
                inventory.report(index, fault.as_ref(), latency);
            }
        });
        futures_util::future::join_all(probes).await;
    }
}

/// Deletes all that is due, on behalf of the command line.
///
/// # Errors
/// If the database fails, or a bucket cannot be used.
pub async fn sweep_once(registry: &Registry<'_>, file_root: &str) -> Result<Swept, StorageError> {
    let mut backends = HashMap::new();
    for bucket in registry.buckets().await? {
        let backend = BucketBackend::new(&bucket, file_root)?;
        backends.insert(bucket.id, backend);
    }
    let mut all = Swept::default();
    execute(registry.client, EXPIRE_SQL, &[]).await?;
    loop {
        let rows = execute(registry.client, CLAIM_SQL, CLAIM_VALUES).await?;
        let deleted = delete_all(&rows, |bucket| backends.get(bucket)).await?;
        if !deleted.gone.is_empty() {
            let values: Values<'_> = &[(&deleted.gone, Type::TEXT_ARRAY)];
            execute(registry.client, FORGET_SQL, values).await?;
        }
        let swept = deleted.swept();
        all.deleted += swept.deleted;
        all.failed += swept.failed;
        if swept.deleted == 0 {
            return Ok(all);
        }
    }
}

/// What became of claimed copies.
#[derive(Default)]
struct Deleted {
    gone: Vec<String>,
    failed: usize,
    /// By bucket; one that has failed is not asked again.
    faults: HashMap<String, Fault>,
}

impl Deleted {
    fn swept(&self) -> Swept {
        Swept {
            deleted: self.gone.len(),
            failed: self.failed,
        }
    }
}

async fn delete_all<'a>(
    claimed: &[Row],
    backend_of: impl Fn(&str) -> Option<&'a BucketBackend>,
) -> Result<Deleted, StorageError> {
    let mut deleted = Deleted::default();
    for row in claimed {
        let (id, bucket): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let was_reserved: bool = row.try_get(2)?;
        let is_silent = deleted.faults.contains_key(&bucket);
        let Some(backend) = backend_of(&bucket).filter(|_| !is_silent) else {
            deleted.failed += 1;
            continue;
        };
        match delete(backend, &id, was_reserved).await {
            Ok(()) => deleted.gone.push(id),
            Err(fault) => {
                tracing::debug!(bucket, %fault, "a copy could not be deleted");
                deleted.failed += 1;
                deleted.faults.insert(bucket, fault);
            }
        }
    }
    Ok(deleted)
}

/// Deletes the bytes of a copy. Of a reservation it is not known whether there are any.
async fn delete(backend: &BucketBackend, id: &str, was_reserved: bool) -> Result<(), Fault> {
    if was_reserved && backend.head(id).await?.is_none() {
        return Ok(());
    }
    backend.delete(id).await
}
