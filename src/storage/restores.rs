//! Copies that could not be restored when they were read back, for operators.

use serde::Serialize;

use super::{Registry, StorageError};

/// A copy whose bytes were not those that were stored, or were not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedRestore {
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// The name of the repository.
    pub repository: String,
    /// The key of the object.
    pub key: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The id of the copy.
    pub copy: String,
    /// What was found.
    pub error: String,
}

/// Returns the last thousand, the newest first. They are kept for 90 days.
///
/// # Errors
/// If the database fails.
pub async fn failed_restores(registry: &Registry<'_>) -> Result<Vec<FailedRestore>, StorageError> {
    let sql = "select to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
         repository, key, bucket, copy, error \
         from tidegate.storage_failed_restore order by at desc limit 1000";
    let rows = registry.run(sql, &[]).await?;
    let failed = rows.iter().map(|row| {
        Ok(FailedRestore {
            at: row.try_get(0)?,
            repository: row.try_get(1)?,
            key: row.try_get(2)?,
            bucket: row.try_get(3)?,
            copy: row.try_get(4)?,
            error: row.try_get(5)?,
        })
    });
    failed.collect()
}
