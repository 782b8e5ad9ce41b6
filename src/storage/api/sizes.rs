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
/// How old the sizes of repositories may be.
const STORED_AGE_MAX: Duration = Duration::from_secs(60);

/// The sizes of repositories. Clients that poll share one reading, also one that has failed.
#[derive(Default)]
pub(super) struct Sizes(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// When they were last read, or could not be.
    tried: Option<Instant>,
    sizes: Option<HashMap<String, u64>>,
}

impl Sizes {
    pub(super) async fn read(
        &self,
        database: &IndexDatabase,
    ) -> Result<HashMap<String, u64>, StorageError> {
        let mut known = self.0.lock().await;
        if known.tried.is_none_or(|at| at.elapsed() >= STORED_AGE_MAX) {
            match sums(database, STORED).await {
                Ok(sizes) => known.sizes = Some(sizes),
                Err(error) => tracing::warn!(%error, "the sizes of repositories cannot be read"),
            }
            known.tried = Some(Instant::now());
        }
        let unknown = || StorageError::NoNode("the sizes of repositories are not known".to_owned());
        known.sizes.clone().ok_or_else(unknown)
    }
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
