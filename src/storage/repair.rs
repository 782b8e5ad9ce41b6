//! Makes copies good again that were found damaged or missing, from another copy of the same blob.
//!
//! The bytes go under the key that the copy has already: it is not read meanwhile, its room is reserved,
//! and a repair that is cut off leaves a copy that is still suspect. No other copy is touched.

use std::sync::Arc;

use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::attempt::{patience, silent, within_stream};
use super::backend::{BucketBackend, PART_BYTES};
use super::database::Values;
use super::error::IncomingError;
use super::fault::{Fault, FaultKind};
use super::hex::hex;
use super::index::{StoredCopy, json};
use super::inventory::Inventory;
use super::lease::Leases;
use super::registry::unsigned;
use super::rounds::in_every_bucket;
use super::sending::{Sending, send_body};
use super::spool::{Check, Spool};
use super::store::Store;

const CLAIM_SQL: &str = "select id, upload, size, sha256, good::text \
     from tidegate.storage_claim_suspect($1, $2::float8 * interval '1 s')";
const TRUST_SQL: &str = "select tidegate.storage_trust($1, $2)";
/// Copies that are repaired in one bucket in one round.
const REPAIRS_MAX: usize = 100;

/// A copy that is to be repaired.
struct Suspect {
    id: String,
    upload: Option<String>,
    size: u64,
    sha256: String,
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
    if suspect.is_right(backend, &suspect.id).await? {
        trust(store, backend, suspect, 0).await?;
        return Ok("it was");
    }
    for copy in &suspect.good {
        let Some(from) = inventory.index_of(&copy.bucket) else {
            continue;
        };
        let from = inventory.buckets[from].backend();
        if suspect.size > PART_BYTES as u64 {
            match suspect.is_right(from, &copy.id).await {
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
            // The client of this body is a bucket.
            Err(Unrepaired::Storage(StorageError::Body(IncomingError::BadDigest))) => {
                store.index.suspect(&copy.id).await?;
                continue;
            }
            Err(Unrepaired::Storage(StorageError::Body(_))) => continue,
            failed => failed?,
        }
        if !suspect.is_right(backend, &suspect.id).await? {
            return Err(Fault::ended_early().into());
        }
        trust(store, backend, suspect, suspect.size).await?;
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
) -> Result<(), Unrepaired> {
    let opened = from.get(&copy.id, 0..suspect.size).await;
    let opened = opened.map_err(|_fault| StorageError::from(IncomingError::Incomplete))?;
    let bytes = opened.map(|chunk| chunk.map_err(|_fault| IncomingError::Incomplete));
    let check = Expected {
        hash: Context::new(&SHA256),
        sha256: suspect.sha256.clone(),
    };
    let room = Arc::clone(&store.room);
    let spool = Spool::new(room, bytes.boxed(), suspect.size, Box::new(check));
    let mut spool = spool.map_err(StorageError::from)?;
    let mut sending = [Sending::new(index, to, suspect.id.clone())];
    let sent = send_body(&mut sending, &mut spool, &store.index);
    // Which of the two buckets is too slow is not known.
    let sent = timeout(patience(suspect.size) * 2, sent).await;
    let sent = sent.unwrap_or_else(|_elapsed| Err(IncomingError::TimedOut.into()));
    let [mut sending] = sending;
    let fault = sending.fault.clone();
    if sent.is_err() || fault.is_some() {
        // Another attempt would forget the id of parts that are still there.
        sending.abort().await?;
    }
    sent?;
    fault.map_or(Ok(()), |fault| Err(fault.into()))
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
            size: unsigned(Some(row.try_get(2)?)).unwrap_or_default(),
            sha256: row.try_get(3)?,
            good: json(row, 4)?,
        })
    }

    /// Whether a bucket has the right bytes under a key, all of them and no more.
    async fn is_right(&self, backend: &BucketBackend, id: &str) -> Result<bool, Fault> {
        if backend.head(id).await? != Some(self.size) {
            return Ok(false);
        }
        if self.size == 0 {
            return Ok(true);
        }
        let read = async {
            let mut bytes = backend.get(id, 0..self.size).await?;
            let mut hash = Context::new(&SHA256);
            while let Some(chunk) = within_stream(&mut bytes).await? {
                hash.update(&chunk);
            }
            Ok(hex(hash.finish().as_ref()) == self.sha256)
        };
        let read = timeout(patience(self.size), read).await;
        match read.unwrap_or_else(|_elapsed| Err(silent())) {
            Err(Fault {
                kind: FaultKind::Absent | FaultKind::Damaged,
                ..
            }) => Ok(false),
            read => read,
        }
    }
}

/// The digest that a blob must have.
struct Expected {
    hash: Context,
    sha256: String,
}

impl Check for Expected {
    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    fn finish(&mut self) -> Result<(), IncomingError> {
        match hex(self.hash.clone().finish().as_ref()) == self.sha256 {
            true => Ok(()),
            false => Err(IncomingError::BadDigest),
        }
    }
}
