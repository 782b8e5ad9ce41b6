//! Buckets that are to be given up: nothing is written to them, and the gateways move their copies to other
//! members.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::prepared::Values;
use super::registry::unsigned;
use super::{BucketRow, Registry, StorageError};

/// Objects that are listed of those that are not moved.
const LISTED_MAX: i64 = 1_000;

/// What keeps copies in a bucket that is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// Why they are not moved.
    pub error: String,
    /// How many objects, or parts of them, that concerns.
    pub count: u64,
    /// The key of one of them.
    pub key: String,
}

/// An object, or an upload, of which a copy cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotMoved {
    /// Whose it is.
    pub repository: String,
    /// Its key.
    pub key: String,
}

/// What is left in a bucket that is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remaining {
    /// Copies that are to be moved.
    pub left: u64,
    /// Bytes of writes that had begun before; they end, or expire.
    pub reserved: u64,
    /// Copies that were moved or replaced and are still to be deleted.
    pub deleting: u64,
    /// Those of them that the bucket has refused to delete.
    pub refused: u64,
    /// In how many seconds the next of them is deleted.
    pub deleting_in_seconds: u64,
    /// Why copies are not moved, the most frequent reason first.
    pub blocked: Vec<Blocked>,
}

impl Remaining {
    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left + self.reserved + self.deleting == 0
    }

    /// Whether something has moved since.
    #[must_use]
    pub fn is_less_than(&self, before: &Self) -> bool {
        let counts = |it: &Self| [it.left, it.reserved, it.deleting];
        let mut pairs = counts(self).into_iter().zip(counts(before));
        pairs.any(|(now, before)| now < before)
    }
}

/// Takes a bucket out of writes and has its copies moved away; doing it again has those tried at once that could
/// not be moved.
///
/// # Errors
/// If there is none, or it is a mirror.
pub async fn begin_drain(registry: &Registry<'_>, bucket: &BucketRow) -> Result<(), StorageError> {
    let name = &bucket.declared.name;
    let repositories = registry.repositories().await?;
    // One whose policy cannot be read may be mirrored to it.
    for repository in &repositories {
        repository.check()?;
    }
    let mirrored = |it: &&super::RepositoryRow| {
        let mirror = it.policy.mirror.as_ref();
        mirror.is_some_and(|mirror| mirror.to == *name)
    };
    if let Some(of) = repositories.iter().find(mirrored) {
        return Err(StorageError::InUse(format!(
            "`{}` is mirrored to the bucket `{name}`: give it another mirror first",
            of.name
        )));
    }
    // Of one that is being tried, `due` is when its lease ends.
    let sql = "with again as (update tidegate.storage_task set failures = 0, \
         due = case when claim is null then now() else due end where bucket = $1 and kind = 'drain') \
         update tidegate.storage_bucket set draining = true where id = $1 returning 1";
    let drained = registry.run(sql, &[(&bucket.id, Type::TEXT)]).await?;
    match drained.is_empty() {
        true => Err(StorageError::NotFound("bucket", name.to_owned())),
        false => Ok(()),
    }
}

/// Returns what is left in a bucket.
///
/// # Errors
/// If the database fails.
pub async fn remaining(
    registry: &Registry<'_>,
    bucket: &BucketRow,
) -> Result<Remaining, StorageError> {
    let sql = "select count(*) filter (where c.state in ('stored', 'suspect')), \
         count(*) filter (where c.state = 'reserved'), count(*) filter (where c.state = 'doomed'), \
         count(*) filter (where c.state = 'doomed' and c.refusals > 0), \
         ceil(greatest(0, extract(epoch from min(c.due) filter (where c.state = 'doomed') - now())))::bigint \
         from tidegate.storage_copy c where c.bucket = $1";
    let values: Values<'_> = &[(&bucket.id, Type::TEXT)];
    let counts = registry.run(sql, values).await?;
    let count = |at: usize| -> Result<u64, StorageError> {
        let row = counts.first().map(|row| row.try_get::<_, Option<i64>>(at));
        Ok(unsigned(row.transpose()?.flatten()).unwrap_or_default())
    };
    let sql = "select t.error, count(*), min(coalesce(o.key, u.key, '')) \
         from tidegate.storage_task t join tidegate.storage_blob b on b.id = t.blob \
         left join tidegate.storage_object o on o.version = b.version \
         left join tidegate.storage_upload u on u.id = b.version \
         where t.bucket = $1 and t.kind = 'drain' and t.error is not null \
         group by t.error order by count(*) desc limit 10";
    let rows = registry.run(sql, values).await?;
    let blocked = rows.iter().map(|row| {
        Ok(Blocked {
            error: row.try_get(0)?,
            count: unsigned(Some(row.try_get(1)?)).unwrap_or_default(),
            key: row.try_get(2)?,
        })
    });
    Ok(Remaining {
        left: count(0)?,
        reserved: count(1)?,
        deleting: count(2)?,
        refused: count(3)?,
        deleting_in_seconds: count(4)?,
        blocked: blocked.collect::<Result<_, StorageError>>()?,
    })
}

/// Returns the objects of which copies in a bucket could not be moved, the first thousand of them.
///
/// # Errors
/// If the database fails.
pub async fn not_moved(
    registry: &Registry<'_>,
    bucket: &BucketRow,
) -> Result<Vec<NotMoved>, StorageError> {
    let sql = "select distinct r.name, coalesce(o.key, u.key) as key \
         from tidegate.storage_task t join tidegate.storage_blob b on b.id = t.blob \
         left join tidegate.storage_object o on o.version = b.version \
         left join tidegate.storage_upload u on u.id = b.version \
         join tidegate.storage_repository r on r.id = coalesce(o.repository, u.repository) \
         where t.bucket = $1 and t.kind = 'drain' and t.error is not null \
         order by r.name, key limit $2";
    let values: Values<'_> = &[(&bucket.id, Type::TEXT), (&LISTED_MAX, Type::INT8)];
    let rows = registry.run(sql, values).await?;
    let of = |row: &Row| {
        Ok(NotMoved {
            repository: row.try_get(0)?,
            key: row.try_get(1)?,
        })
    };
    rows.iter().map(of).collect()
}

/// Forgets the copies in a bucket that are to be deleted: it is gone, and deletes nothing. Copies that were
/// not moved stay.
///
/// # Errors
/// If the bucket is not drained, or the database fails.
pub async fn forget_copies(
    registry: &Registry<'_>,
    bucket: &BucketRow,
) -> Result<u64, StorageError> {
    let sql = "select tidegate.storage_forget(array(\
         select c.id from tidegate.storage_copy c join tidegate.storage_bucket b on b.id = c.bucket \
         where b.id = $1 and b.draining and c.state = 'doomed'))";
    let rows = registry.run(sql, &[(&bucket.id, Type::TEXT)]).await?;
    let forgotten = rows.first().map(|row| row.try_get(0)).transpose()?;
    Ok(unsigned(forgotten).unwrap_or_default())
}
