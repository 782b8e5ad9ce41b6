//! How much repositories hold, which takes a while to count.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::storage::StorageError;
use crate::storage::database::IndexDatabase;

/// Reads the whole index, which takes its time.
const STORED: &str = "select o.repository, sum(v.size)::bigint from tidegate.storage_object o \
     join tidegate.storage_version v on v.id = o.version group by 1";
/// What a repository has in a bucket: its copies there.
const PLACED: &str = "select o.repository, c.bucket, sum(c.bytes)::bigint from tidegate.storage_object o \
     join tidegate.storage_blob b on b.version = o.version \
     join tidegate.storage_copy c on c.blob = b.id and c.state in ('stored', 'suspect') group by 1, 2";
/// How old the sizes of repositories may be.
const STORED_AGE_MAX: Duration = Duration::from_secs(60);

/// The sizes of repositories. Clients that poll share one reading, also one that has failed.
#[derive(Default)]
pub(super) struct Sizes {
    stored: Mutex<Known<String>>,
    placed: Mutex<Known<(String, String)>>,
}

struct Known<K> {
    /// When they were last read, or could not be.
    tried: Option<Instant>,
    sizes: Option<HashMap<K, u64>>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            tried: None,
            sizes: None,
        }
    }
}

impl Sizes {
    /// By the ids of repositories.
    pub(super) async fn read(
        &self,
        database: &IndexDatabase,
    ) -> Result<HashMap<String, u64>, StorageError> {
        known(&self.stored, sums(database, STORED)).await
    }

    /// By the ids of repositories and of buckets in which they have copies.
    pub(super) async fn placed(
        &self,
        database: &IndexDatabase,
    ) -> Result<HashMap<(String, String), u64>, StorageError> {
        let read = async {
            let rows = database.read_much(PLACED, &[]).await?;
            let sum = |row: &Row| Ok(((row.try_get(0)?, row.try_get(1)?), bytes(row, 2)?));
            rows.iter().map(sum).collect()
        };
        known(&self.placed, read).await
    }
}

/// What is known, or read now if that was long ago.
async fn known<K: Clone>(
    known: &Mutex<Known<K>>,
    read: impl Future<Output = Result<HashMap<K, u64>, StorageError>>,
) -> Result<HashMap<K, u64>, StorageError> {
    let mut known = known.lock().await;
    if known.tried.is_none_or(|at| at.elapsed() >= STORED_AGE_MAX) {
        match read.await {
            Ok(sizes) => known.sizes = Some(sizes),
            Err(error) => tracing::warn!(%error, "the sizes of repositories cannot be read"),
        }
        known.tried = Some(Instant::now());
    }
    let unknown = || StorageError::NoNode("the sizes of repositories are not known".to_owned());
    known.sizes.clone().ok_or_else(unknown)
}

/// A number of bytes by the id of a repository or a bucket.
pub(super) async fn sums(
    database: &IndexDatabase,
    sql: &str,
) -> Result<HashMap<String, u64>, StorageError> {
    let rows = database.read_much(sql, &[]).await?;
    let sum = |row: &Row| Ok((row.try_get(0)?, bytes(row, 1)?));
    rows.iter().map(sum).collect()
}

pub(super) fn bytes(row: &Row, at: usize) -> Result<u64, tokio_postgres::Error> {
    let bytes: i64 = row.try_get(at)?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}
