//! The tasks of moving bytes, as rows: claimed by one gateway at a time, and ended in the transaction that
//! changes the index.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::database::{Owed, Values};
use super::index::{Index, StoredCopy, json};
use super::mirror::Mirror;
use super::registry::unsigned;
use super::transfer::Fingerprint;

/// Objects that become tasks in one transaction when a mirror is changed: their blobs are locked.
const MIRROR_BATCH: i32 = 500;

/// What is done with a blob at a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskKind {
    /// It is copied there.
    Mirror,
    /// It is read back there.
    Restore,
    /// It is moved away from there.
    Drain,
}

impl TaskKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Restore => "restore",
            Self::Drain => "drain",
        }
    }
}

/// A blob with which something is to be done.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) kind: TaskKind,
    /// The claim of the gateway that is at it.
    pub(super) claim: String,
    /// Whether the policy has another mirror by now, or none.
    pub(super) is_stale: bool,
    pub(super) blob: String,
    pub(super) expected: Fingerprint,
    pub(super) copies: Vec<StoredCopy>,
    /// The id of its repository.
    pub(super) repository: String,
    pub(super) key: String,
    pub(super) failures: i32,
}

impl Task {
    /// Its copies that are not suspect.
    pub(super) fn good(&self) -> impl Iterator<Item = &StoredCopy> {
        self.copies.iter().filter(|copy| !copy.is_suspect)
    }

    fn of(row: &Row, claim: &str) -> Result<Self, StorageError> {
        let kind = match row.try_get(0)? {
            "mirror" => TaskKind::Mirror,
            "restore" => TaskKind::Restore,
            _ => TaskKind::Drain,
        };
        Ok(Self {
            kind,
            claim: claim.to_owned(),
            is_stale: row.try_get(8)?,
            blob: row.try_get(1)?,
            expected: Fingerprint {
                size: unsigned(Some(row.try_get(2)?)).unwrap_or_default(),
                sha256: row.try_get(3)?,
            },
            copies: json(row, 4)?,
            repository: row.try_get::<_, Option<_>>(5)?.unwrap_or_default(),
            key: row.try_get::<_, Option<_>>(6)?.unwrap_or_default(),
            failures: row.try_get(7)?,
        })
    }
}

/// What a mirror is late with.
pub(super) struct Backlog {
    /// The id of the bucket.
    pub(super) bucket: String,
    /// Blobs that should have been copied into it.
    pub(super) blobs: i64,
    /// For how long the oldest of them should have been, in seconds.
    pub(super) late: f64,
}

/// The tasks of one bucket, by its id.
#[derive(Clone, Copy)]
pub(super) struct Tasks<'a> {
    pub(super) index: &'a Index,
    pub(super) bucket: &'a str,
}

impl Tasks<'_> {
    /// Claims the oldest task that is due.
    pub(super) async fn claim(&self, claim: &str) -> Result<Option<Task>, StorageError> {
        let sql = "select kind, blob, size, sha256, copies::text, repository, key, failures, is_stale \
             from tidegate.storage_claim_task($1, $2, $3::float8 * interval '1 s')";
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&claim, Type::TEXT),
            (&self.index.lease.as_secs_f64(), Type::FLOAT8),
        ];
        let rows = self.index.database.write(sql, values).await?.rows;
        rows.first().map(|row| Task::of(row, claim)).transpose()
    }

    /// Makes tasks of more copies that are to be moved away; returns how many.
    pub(super) async fn drain(&self, most: i32) -> Result<i64, StorageError> {
        let sql = "select tidegate.storage_drain($1, $2)";
        let values: Values<'_> = &[(&self.bucket, Type::TEXT), (&most, Type::INT4)];
        let rows = self.index.database.write(sql, values).await?.rows;
        Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
    }

    /// Makes tasks of a sample of a mirror, if it is time.
    pub(super) async fn sample(
        &self,
        repository: &str,
        mirror: &Mirror,
    ) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_sample($1, $2, $3::float8 * interval '1 s', $4)";
        let values: Values<'_> = &[
            (&repository, Type::TEXT),
            (&self.bucket, Type::TEXT),
            (&mirror.verify.as_secs_f64(), Type::FLOAT8),
            (&mirror.share, Type::FLOAT8),
        ];
        self.index.database.write(sql, values).await.map(drop)
    }

    /// Ends a task, of which a copy was read back in full. False if the copy is not needed any more.
    pub(super) async fn end(
        &self,
        task: &Task,
        copy: &str,
        sha256: &str,
    ) -> Result<bool, StorageError> {
        let after = self.index.sweep_after.as_secs_f64();
        let given: Values<'_> = &[
            (&task.blob, Type::TEXT),
            (&self.bucket, Type::TEXT),
            (&task.claim, Type::TEXT),
            (&copy, Type::TEXT),
            (&sha256, Type::TEXT),
            (&after, Type::FLOAT8),
        ];
        let (sql, values) = match task.kind {
            TaskKind::Mirror => (
                "select tidegate.storage_mirrored($1, $2, $3, $4, $5, $6::float8 * interval '1 s')",
                given,
            ),
            TaskKind::Drain => (
                "select tidegate.storage_drained($1, $2, $3, $4, $5, $6::float8 * interval '1 s')",
                given,
            ),
            TaskKind::Restore => (
                "select tidegate.storage_restored($1, $2, $3, $4, $5)",
                &given[..5],
            ),
        };
        let rows = self.index.database.write(sql, values).await?.rows;
        Ok(rows.first().map_or(Ok(false), |row| row.try_get(0))?)
    }

    /// Ends a task of which nothing is to be done.
    pub(super) async fn cancel(&self, task: &Task) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_task_done($1, $2, $3, $4)";
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&task.kind.as_str(), Type::TEXT),
            (&task.blob, Type::TEXT),
            (&task.claim, Type::TEXT),
        ];
        self.index.database.write(sql, values).await.map(drop)
    }

    /// Puts a task off.
    pub(super) async fn fail(&self, task: &Task, error: &str) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_task_failed($1, $2, $3, $4, $5)";
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&task.kind.as_str(), Type::TEXT),
            (&task.blob, Type::TEXT),
            (&task.claim, Type::TEXT),
            (&error, Type::TEXT),
        ];
        self.index.database.write(sql, values).await.map(drop)
    }

    /// Records that a copy cannot be restored.
    pub(super) async fn restore_failed(
        &self,
        task: &Task,
        copy: &str,
        error: &str,
    ) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_restore_failed($1, $2, $3, $4, $5, $6)";
        let values: Values<'_> = &[
            (&task.blob, Type::TEXT),
            (&self.bucket, Type::TEXT),
            (&copy, Type::TEXT),
            (&task.repository, Type::TEXT),
            (&task.key, Type::TEXT),
            (&error, Type::TEXT),
        ];
        self.index.database.write(sql, values).await.map(drop)
    }
}

/// Makes tasks of more objects of a repository whose mirror was changed. False if there are none left, or another
/// gateway does.
pub(super) async fn mirror_more(index: &Index, repository: &str) -> Result<bool, StorageError> {
    let sql = "select tidegate.storage_mirror_more($1, $2)";
    let values: Values<'_> = &[(&repository, Type::TEXT), (&MIRROR_BATCH, Type::INT4)];
    let rows = index.database.write(sql, values).await?.rows;
    Ok(rows.first().map_or(Ok(false), |row| row.try_get(0))?)
}

/// Returns the ids of the buckets with tasks that are due.
pub(super) async fn due(index: &Index) -> Result<HashSet<String>, StorageError> {
    let sql = "select b.id from tidegate.storage_bucket b where b.draining or exists \
         (select from tidegate.storage_task t where t.bucket = b.id and t.due <= now())";
    let rows = index.database.read(Owed::STRONG, sql, &[]).await?.rows;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// Returns what the mirrors are late with.
pub(super) async fn backlog(index: &Index) -> Result<Vec<Backlog>, StorageError> {
    let sql = "select bucket, count(*), extract(epoch from now() - min(wanted))::float8 \
         from tidegate.storage_task where kind = 'mirror' and wanted <= now() group by bucket";
    let rows = index.database.read(Owed::STRONG, sql, &[]).await?.rows;
    let backlog = |row: &Row| {
        Ok(Backlog {
            bucket: row.try_get(0)?,
            blobs: row.try_get(1)?,
            late: row.try_get(2)?,
        })
    };
    rows.iter().map(backlog).collect()
}
