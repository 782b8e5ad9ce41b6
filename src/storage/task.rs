//! The tasks of moving bytes, as rows: claimed by one gateway at a time, and ended in the transaction that
//! changes the index.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::index::{Index, StoredCopy, json};
use super::live::Late;
use super::mirror::Mirror;
use super::owed::Owed;
use super::prepared::Values;
use super::registry::unsigned;
use super::transfer::Fingerprint;

/// Objects that become tasks in one transaction when a mirror is changed: their blobs are locked.
const MIRROR_BATCH: i32 = 500;
/// Objects that are looked at in one transaction for a sample of a mirror.
const SAMPLE_BATCH: i32 = 2_000;
/// Repositories that have their turn in one round at a bucket.
const REPOSITORIES_MAX: i32 = 1_000;

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

/// The tasks of one bucket, by its id.
#[derive(Clone, Copy)]
pub(super) struct Tasks<'a> {
    pub(super) index: &'a Index,
    pub(super) bucket: &'a str,
}

impl Tasks<'_> {
    /// The ids of repositories of which something is due, in any order.
    pub(super) async fn repositories(&self) -> Result<Vec<String>, StorageError> {
        let sql = "select tidegate.storage_due($1, $2)";
        let values: Values<'_> = &[(&self.bucket, Type::TEXT), (&REPOSITORIES_MAX, Type::INT4)];
        let rows = self.index.database.read(Owed::STRONG, sql, values).await?;
        let rows = rows.rows.iter().map(|row| row.try_get(0));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Claims the oldest task of a repository that is due.
    pub(super) async fn claim(
        &self,
        repository: &str,
        claim: &str,
    ) -> Result<Option<Task>, StorageError> {
        let sql = "select kind, blob, size, sha256, copies::text, repository, key, failures, is_stale \
             from tidegate.storage_claim_task($1, $2, $3, $4::float8 * interval '1 s')";
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&repository, Type::TEXT),
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

    /// Makes tasks of some more of a sample of a mirror, if it is time.
    pub(super) async fn sample(
        &self,
        repository: &str,
        mirror: &Mirror,
    ) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_sample($1, $2, $3::float8 * interval '1 s', $4, $5)";
        let values: Values<'_> = &[
            (&repository, Type::TEXT),
            (&self.bucket, Type::TEXT),
            (&mirror.verify.as_secs_f64(), Type::FLOAT8),
            (&mirror.share, Type::FLOAT8),
            (&SAMPLE_BATCH, Type::INT4),
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
        self.is(sql, values).await
    }

    /// Ends a task of which nothing is to be done.
    pub(super) async fn cancel(&self, task: &Task) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_task_done($1, $2, $3, $4)";
        self.let_go(task, sql).await
    }

    /// Has a task done anew that was overtaken by a change of its copies; another one is left alone.
    pub(super) async fn again(&self, task: &Task) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_task_again($1, $2, $3, $4)";
        self.let_go(task, sql).await
    }

    /// Calls a function with the task and this gateway's claim on it.
    async fn let_go(&self, task: &Task, sql: &str) -> Result<(), StorageError> {
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&task.kind.as_str(), Type::TEXT),
            (&task.blob, Type::TEXT),
            (&task.claim, Type::TEXT),
        ];
        self.index.database.write(sql, values).await.map(drop)
    }

    /// Puts a task off. False if it is not this gateway's any more: then nothing has failed.
    pub(super) async fn fail(&self, task: &Task, error: &str) -> Result<bool, StorageError> {
        let sql = "select tidegate.storage_task_failed($1, $2, $3, $4, $5)";
        let values: Values<'_> = &[
            (&self.bucket, Type::TEXT),
            (&task.kind.as_str(), Type::TEXT),
            (&task.blob, Type::TEXT),
            (&task.claim, Type::TEXT),
            (&error, Type::TEXT),
        ];
        self.is(sql, values).await
    }

    /// Records that a copy in some bucket cannot be restored. False, and nothing is recorded, if the task or the
    /// copy was overtaken: by another gateway, or by a newer version.
    pub(super) async fn restore_failed(
        &self,
        task: &Task,
        (bucket, copy): (&str, &str),
        error: &str,
    ) -> Result<bool, StorageError> {
        let sql = "select tidegate.storage_restore_failed($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let values: Values<'_> = &[
            (&task.blob, Type::TEXT),
            (&self.bucket, Type::TEXT),
            (&task.kind.as_str(), Type::TEXT),
            (&task.claim, Type::TEXT),
            (&bucket, Type::TEXT),
            (&copy, Type::TEXT),
            (&task.repository, Type::TEXT),
            (&task.key, Type::TEXT),
            (&error, Type::TEXT),
        ];
        self.is(sql, values).await
    }

    /// Runs a function that answers yes or no.
    async fn is(&self, sql: &str, values: Values<'_>) -> Result<bool, StorageError> {
        let rows = self.index.database.write(sql, values).await?.rows;
        Ok(rows.first().map_or(Ok(false), |row| row.try_get(0))?)
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
         (select from tidegate.storage_due(b.id, 1))";
    let rows = index.database.read(Owed::STRONG, sql, &[]).await?.rows;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// Blobs up to 100,000 are counted: each gateway asks every few seconds.
const BACKLOG: &str = "select b.id, (select count(*) from (select from tidegate.storage_task t \
     where t.bucket = b.id and t.kind = 'mirror' and t.wanted <= now() limit 100000) counted), \
     extract(epoch from now() - oldest.wanted)::float8 from tidegate.storage_bucket b \
     cross join lateral (select t.wanted from tidegate.storage_task t \
     where t.bucket = b.id and t.kind = 'mirror' and t.wanted <= now() order by t.wanted limit 1) oldest";

/// Returns what the mirrors are late with, by the ids of their buckets.
pub(super) async fn backlog(index: &Index) -> Result<HashMap<String, Late>, StorageError> {
    let rows = index.database.read_much(BACKLOG, &[]).await?;
    let late = |row: &Row| {
        let late = Late {
            blobs: unsigned(Some(row.try_get(1)?)).unwrap_or_default(),
            seconds: row.try_get(2)?,
        };
        Ok((row.try_get(0)?, late))
    };
    rows.iter().map(late).collect()
}
