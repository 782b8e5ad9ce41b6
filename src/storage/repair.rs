//! Makes copies good again that were found damaged or missing, from another copy of the same blob.
//!
//! The bytes go under the key that the copy has already: it is not read meanwhile, its room is reserved,
//! and a repair that is cut off leaves a copy that is still suspect. No other copy is touched.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::backend::{BucketBackend, PART_BYTES};
use super::fault::{Fault, FaultKind};
use super::index::{StoredCopy, json};
use super::inventory::Inventory;
use super::lease::Leases;
use super::object_name::ObjectName;
use super::prepared::Values;
use super::registry::unsigned;
use super::rounds::in_every_bucket;
use super::sending::Sending;
use super::store::Store;
use super::transfer::{Fingerprint, TransferError};

const CLAIM_SQL: &str = "select id, upload, size, sha256, good::text \
     from tidegate.storage_claim_suspect($1, $2::float8 * interval '1 s')";
const TRUST_SQL: &str = "select tidegate.storage_trust($1, $2)";
/// Copies that are repaired in one bucket in one round.
const REPAIRS_MAX: usize = 100;

/// A copy that is to be repaired.
struct Suspect {
    id: String,
    upload: Option<String>,
    expected: Fingerprint,
    /// The copies that can be read.
    good: Vec<StoredCopy>,
}

/// Why a copy is not repaired yet.
#[derive(Debug, thiserror::Error)]
enum Unrepaired {
    #[error("the bucket has failed: {0}")]
    Bucket(#[from] Fault),
    #[error("no other copy gives the right bytes")]
    NoSource,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Repairs again and again; never ends.
pub async fn repair_forever(store: Arc<Store>) {
    let store = &*store;
    let round = |_, inventory: Arc<Inventory>, index| async move {
        repair(store, &inventory, index).await;
    };
    in_every_bucket(store, store.settings.sweep_interval, round).await;
}

/// Repairs copies in one bucket, until it fails.
async fn repair(store: &Store, inventory: &Inventory, index: usize) {
    let bucket = &inventory.buckets[index];
    if bucket.row.draining {
        return;
    }
    for _ in 0..REPAIRS_MAX {
        let claimed = match claim(store, &bucket.row.id).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "suspect copies cannot be found");
                return;
            }
        };
        let Some(suspect) = claimed else { return };
        let leases = Leases::default();
        leases.add(&suspect.id);
        let repaired = repair_copy(store, inventory, index, &suspect);
        let name = bucket.name();
        match leases.hold(&store.index, repaired).await {
            Ok(how) => tracing::info!(
                bucket = name,
                copy = suspect.id,
                how,
                "a copy is good again"
            ),
            Err(error) => {
                tracing::error!(bucket = name, copy = suspect.id, %error, "a copy cannot be repaired");
                if let Unrepaired::Bucket(fault) = &error {
                    if fault.kind == FaultKind::Quota
                        && let Err(error) = store.index.refuse_writes(&bucket.row.id).await
                    {
                        tracing::warn!(%error, "a bucket that is full could not be taken out of writes");
                    }
                    inventory.report(index, Some(fault), None);
                    return;
                }
            }
        }
    }
}

async fn claim(store: &Store, bucket: &str) -> Result<Option<Suspect>, StorageError> {
    let lease = store.index.lease.as_secs_f64();
    let values: Values<'_> = &[(&bucket, Type::TEXT), (&lease, Type::FLOAT8)];
    let rows = store.index.database.write(CLAIM_SQL, values).await?.rows;
    rows.first().map(Suspect::of).transpose()
}

/// Repairs a copy, and says how.
async fn repair_copy(
    store: &Store,
    inventory: &Inventory,
    index: usize,
    suspect: &Suspect,
) -> Result<&'static str, Unrepaired> {
    let backend = inventory.buckets[index].backend();
    // What an earlier repair has left.
    let upload = suspect.upload.as_deref();
    backend.abandon(&suspect.id, upload).await?;
    // It may have been damaged only on the way.
    if suspect
        .is_right(backend, ObjectName::Own(&suspect.id))
        .await?
    {
        trust(store, backend, suspect, 0).await?;
        return Ok("it was");
    }
    for copy in &suspect.good {
        let Some(from) = inventory.index_of(&copy.bucket) else {
            continue;
        };
        let from = inventory.buckets[from].backend();
        if suspect.expected.size > PART_BYTES as u64 {
            match suspect.is_right(from, copy.object()).await {
                // Parts and the bytes that they replace would exceed the quota together.
                Ok(true) => backend.delete(&suspect.id).await?,
                Ok(false) => {
                    store.index.suspect(&copy.id).await?;
                    continue;
                }
                Err(_fault) => continue,
            }
        }
        match rewrite(store, from, copy, (index, backend), suspect).await {
            Ok(()) => {}
            Err(TransferError::WrongSource) => {
                store.index.suspect(&copy.id).await?;
                continue;
            }
            Err(TransferError::NoSource | TransferError::TimedOut) => continue,
            Err(TransferError::Target(fault)) => return Err(fault.into()),
            Err(TransferError::Storage(error)) => return Err(error.into()),
        }
        if !suspect
            .is_right(backend, ObjectName::Own(&suspect.id))
            .await?
        {
            return Err(Fault::ended_early().into());
        }
        trust(store, backend, suspect, suspect.expected.size).await?;
        return Ok("its bytes were written again");
    }
    Err(Unrepaired::NoSource)
}

/// Writes the bytes of another copy, if they are right.
async fn rewrite(
    store: &Store,
    from: &BucketBackend,
    copy: &StoredCopy,
    (index, to): (usize, &BucketBackend),
    suspect: &Suspect,
) -> Result<(), TransferError> {
    let mut sending = Sending::new(index, to, suspect.id.clone());
    let expected = &suspect.expected;
    let sent = expected.transfer(store, from, copy.object(), &mut sending);
    let sent = sent.await;
    if sent.is_err() {
        // Another attempt would forget the id of parts that are still there.
        sending.abort().await.map_err(TransferError::Target)?;
    }
    sent.map(drop)
}

/// Lets a copy be read again; if its blob is gone meanwhile, its bytes are deleted.
async fn trust(
    store: &Store,
    backend: &BucketBackend,
    suspect: &Suspect,
    written: u64,
) -> Result<(), Unrepaired> {
    let written = i64::try_from(written).unwrap_or(i64::MAX);
    let values: Values<'_> = &[(&suspect.id, Type::TEXT), (&written, Type::INT8)];
    let shown = store.index.database.write(TRUST_SQL, values).await?;
    let row = shown.rows.first();
    let trusted = row.map(|row| row.try_get(0)).transpose();
    store.distrusted.remove(&suspect.id);
    if trusted.map_err(StorageError::from)? != Some(true) {
        backend.delete(&suspect.id).await?;
    }
    Ok(())
}

impl Suspect {
    /// Reads a row of [`CLAIM_SQL`].
    fn of(row: &Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: row.try_get(0)?,
            upload: row.try_get(1)?,
            expected: Fingerprint {
                size: unsigned(Some(row.try_get(2)?)).unwrap_or_default(),
                sha256: row.try_get(3)?,
            },
            good: json(row, 4)?,
        })
    }

    /// Whether a bucket has the right bytes, all of them and no more.
    async fn is_right(
        &self,
        backend: &BucketBackend,
        object: ObjectName<'_>,
    ) -> Result<bool, Fault> {
        Ok(self.expected.read(backend, object).await?.is_some())
    }
}
