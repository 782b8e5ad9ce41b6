//! The index of objects: what PostgreSQL knows about keys, versions and copies.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::WalPosition;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::database::IndexDatabase;
use super::fault::Left;
use super::migrations::Migrations;
use super::owed::Owed;
use super::prepared::Values;
use super::registry::{signed, unsigned};
pub(super) use super::version::{Blob, Meta, StoredCopy, Version, json};

/// A version that is to become the newest.
pub(super) struct NewVersion<'a> {
    pub(super) repository: &'a str,
    pub(super) key: &'a str,
    pub(super) id: &'a str,
    pub(super) size: u64,
    pub(super) etag: &'a str,
    pub(super) sha256: &'a str,
    pub(super) meta: &'a Meta,
    pub(super) copies: &'a [String],
    pub(super) conditions: &'a Conditions,
}

/// `If-Match` and `If-None-Match`: an `ETag` without quotes, or `*`.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// What the object must be that a client deletes.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteConditions {
    /// Without quotes, or `*`.
    pub(super) etag: Option<String>,
    pub(super) size: Option<i64>,
    /// Seconds since 1970.
    pub(super) modified: Option<i64>,
}

/// What a reservation has found about its bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) held: u64,
    pub(super) written: u64,
}

const FIND: &str = "select v.id, v.size, v.etag, v.meta::text, floor(extract(epoch from v.modified))::bigint, \
     coalesce((select json_agg(json_build_object('id', b.id, 'size', b.size, \
     'sha256', b.sha256, 'copies', coalesce((select json_agg(tidegate.storage_copy_json(c)) from tidegate.storage_copy c \
     where c.blob = b.id and c.state in ('stored', 'suspect')), '[]'::json)) order by b.number) \
     from tidegate.storage_blob b where b.version = v.id), '[]'::json)::text \
     from tidegate.storage_object o join tidegate.storage_version v on v.id = o.version \
     where o.repository = $1 and o.key = $2";

/// The index, in the database.
#[derive(Clone)]
pub(super) struct Index {
    pub(super) database: IndexDatabase,
    pub(super) migrations: Arc<Migrations>,
    pub(super) lease: Duration,
    pub(super) sweep_after: Duration,
}

impl Index {
    /// Finds the newest version of a key.
    pub(super) async fn find(
        &self,
        owed: Owed,
        repository: &str,
        key: &str,
    ) -> Result<(Option<Version>, Option<WalPosition>), StorageError> {
        let values: Values<'_> = &[(&repository, Type::TEXT), (&key, Type::TEXT)];
        let shown = self.database.read(owed, FIND, values).await?;
        let version = shown.rows.first().map(version).transpose()?;
        Ok((version, shown.position))
    }

    /// Reserves bytes in a bucket; nothing if its quota forbids it.
    pub(super) async fn reserve(
        &self,
        copy: &str,
        bucket: &str,
        bytes: u64,
    ) -> Result<Option<Usage>, StorageError> {
        let sql = "select held, written from tidegate.storage_reserve($1, $2, $3, $4::float8 * interval '1 s')";
        let values: Values<'_> = &[
            (&copy, Type::TEXT),
            (&bucket, Type::TEXT),
            (&signed(Some(bytes)), Type::INT8),
            (&self.lease.as_secs_f64(), Type::FLOAT8),
        ];
        let rows = self.database.write(sql, values).await?.rows;
        let usage = |row: &Row| {
            let bytes = |at| {
                row.try_get(at)
                    .map(|it| unsigned(Some(it)).unwrap_or_default())
            };
            Ok(Usage {
                held: bytes(0)?,
                written: bytes(1)?,
            })
        };
        rows.first().map(usage).transpose()
    }

    /// Keeps reservations, and the claims of suspect copies and of tasks, while bytes are on their way.
    pub(super) async fn renew(&self, copies: &[String]) -> Result<(), StorageError> {
        let sql = "with tasks as (update tidegate.storage_task \
             set due = now() + $2::float8 * interval '1 s' where claim = any ($1)) \
             update tidegate.storage_copy set due = now() + $2::float8 * interval '1 s' \
             where id = any ($1) and state in ('reserved', 'suspect')";
        let values: Values<'_> = &[
            (&copies, Type::TEXT_ARRAY),
            (&self.lease.as_secs_f64(), Type::FLOAT8),
        ];
        self.database.write(sql, values).await.map(drop)
    }

    /// Notes the id that a bucket has given an upload in parts.
    pub(super) async fn note_upload(&self, copy: &str, upload: &str) -> Result<(), StorageError> {
        let sql = "update tidegate.storage_copy set upload = $2 where id = $1";
        let values: Values<'_> = &[(&copy, Type::TEXT), (&upload, Type::TEXT)];
        self.database.write(sql, values).await.map(drop)
    }

    /// Gives a reservation up; if that fails, its lease ends it.
    pub(super) async fn give_up(&self, copy: &str, left: Left) {
        if left == Left::Unknown {
            return;
        }
        let sql = "with gone as (delete from tidegate.storage_copy where id = $1 and state = 'reserved' \
             returning bucket, bytes) update tidegate.storage_bucket b set held = held - gone.bytes \
             from gone where b.id = gone.bucket";
        let values: Values<'_> = &[(&copy, Type::TEXT)];
        if let Err(error) = self.database.write(sql, values).await {
            tracing::debug!(%error, "a reservation could not be released");
        }
    }

    /// Has bytes deleted that are in a bucket, and counts them until then: also if their reservation has
    /// expired and is gone.
    pub(super) async fn doom(
        &self,
        copy: &str,
        bucket: &str,
        bytes: u64,
    ) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_doom_copy($1, $2, $3)";
        let values: Values<'_> = &[
            (&copy, Type::TEXT),
            (&bucket, Type::TEXT),
            (&signed(Some(bytes)), Type::INT8),
        ];
        self.database.write(sql, values).await.map(drop)
    }

    /// Makes a version the newest of its key.
    pub(super) async fn put(
        &self,
        new: &NewVersion<'_>,
    ) -> Result<Option<WalPosition>, StorageError> {
        let sql = "select tidegate.storage_put($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, \
             $11::float8 * interval '1 s')";
        let meta = serde_json::to_string(new.meta).unwrap_or_default();
        let values: Values<'_> = &[
            (&new.repository, Type::TEXT),
            (&new.key, Type::TEXT),
            (&new.id, Type::TEXT),
            (&signed(Some(new.size)), Type::INT8),
            (&new.etag, Type::TEXT),
            (&new.sha256, Type::TEXT),
            (&meta, Type::TEXT),
            (&new.copies, Type::TEXT_ARRAY),
            (&new.conditions.if_match, Type::TEXT),
            (&new.conditions.if_none_match, Type::TEXT),
            (&self.sweep_after.as_secs_f64(), Type::FLOAT8),
        ];
        self.outcome(sql, values).await
    }

    /// Deletes a key's object, if it satisfies the conditions.
    pub(super) async fn delete(
        &self,
        repository: &str,
        key: &str,
        conditions: &DeleteConditions,
    ) -> Result<Option<WalPosition>, StorageError> {
        let sql = "select tidegate.storage_delete($1, $2, $3, $4, $5, $6::float8 * interval '1 s')";
        let values: Values<'_> = &[
            (&repository, Type::TEXT),
            (&key, Type::TEXT),
            (&conditions.etag, Type::TEXT),
            (&conditions.size, Type::INT8),
            (&conditions.modified, Type::INT8),
            (&self.sweep_after.as_secs_f64(), Type::FLOAT8),
        ];
        self.outcome(sql, values).await
    }

    /// Runs a function that says in a word how it ended.
    pub(super) async fn outcome(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Option<WalPosition>, StorageError> {
        let shown = match self.database.write(sql, values).await {
            Err(StorageError::Database(error)) => return Err(of_function(error)),
            shown => shown?,
        };
        let row = shown.rows.first();
        let outcome: &str = row
            .map(|row| row.try_get(0))
            .transpose()?
            .unwrap_or_default();
        match outcome {
            "condition" => Err(StorageError::ConditionFailed),
            "absent" => Err(StorageError::NoSuchKey),
            "expired" => Err(StorageError::LeaseLost),
            "upload" => Err(StorageError::NoSuchUpload),
            _ => Ok(shown.position),
        }
    }

    /// Adds a copy of a blob that has others.
    pub(super) async fn add_copy(&self, blob: &str, copy: &str) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_add_copy($1, $2)";
        let values: Values<'_> = &[(&blob, Type::TEXT), (&copy, Type::TEXT)];
        let shown = self.database.write(sql, values).await?;
        let row = shown.rows.first();
        match row.map(|row| row.try_get(0)).transpose()? {
            Some(true) => Ok(()),
            _ => Err(StorageError::NoSuchKey),
        }
    }

    /// Takes a bucket out of writes until the next month, since its provider has named a quota.
    pub(super) async fn refuse_writes(&self, bucket: &str) -> Result<(), StorageError> {
        let sql = "update tidegate.storage_bucket set refused_month = tidegate.storage_month() where id = $1";
        let values: Values<'_> = &[(&bucket, Type::TEXT)];
        self.database.write(sql, values).await.map(drop)
    }

    /// Takes a copy out of reads, since its bytes are not those that were stored, or are not there; never
    /// the last one of its blob.
    pub(super) async fn suspect(&self, copy: &str) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_suspect($1)";
        let values: Values<'_> = &[(&copy, Type::TEXT)];
        self.database.write(sql, values).await.map(drop)
    }
}

/// What a function has raised.
fn of_function(error: tokio_postgres::Error) -> StorageError {
    let raised = error.as_db_error().filter(|it| it.code().code() == "TS001");
    match raised.map(tokio_postgres::error::DbError::message) {
        Some("small") => StorageError::PartTooSmall,
        Some(_) => StorageError::InvalidPart,
        None => StorageError::Database(error),
    }
}

fn version(row: &Row) -> Result<Version, StorageError> {
    Ok(Version {
        id: row.try_get(0)?,
        size: unsigned(Some(row.try_get(1)?)).unwrap_or_default(),
        etag: row.try_get(2)?,
        meta: json(row, 3)?,
        modified: row.try_get(4)?,
        blobs: json(row, 5)?,
    })
}
