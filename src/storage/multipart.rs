//! Uploads in parts: each part is a blob of its own, in any bucket, until they are put together.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use tidegate_model::WalPosition;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::hex::hex;
use super::index::{Conditions, Index, Meta, json};
use super::owed::Owed;
use super::prepared::Values;
use super::registry::{new_id, unsigned};
use super::spool::Spool;
use super::write::{Landed, Target};

/// Parts of an upload, as S3 has it.
pub(super) const PARTS_MAX: i32 = 10_000;

/// A part that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredPart {
    pub(super) number: i32,
    pub(super) size: u64,
    pub(super) etag: String,
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// None if they were not kept.
    pub(super) checksums: Option<PartChecksums>,
}

/// Checksums that a part came with, by the name of their algorithm.
pub(super) type PartChecksums = BTreeMap<String, String>;

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BegunUpload {
    pub(super) id: String,
    pub(super) key: String,
    /// Seconds since 1970.
    pub(super) started: i64,
}

/// One upload.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadAt<'a> {
    pub(super) repository: &'a str,
    pub(super) key: &'a str,
    pub(super) id: &'a str,
}

/// The uploads that an index has.
pub(super) struct Uploads<'a>(pub(super) &'a Index);

impl Uploads<'_> {
    /// Begins an upload.
    pub(super) async fn begin(
        &self,
        repository: &str,
        key: &str,
        meta: &Meta,
    ) -> Result<String, StorageError> {
        let id = new_id();
        let meta = serde_json::to_string(meta).unwrap_or_default();
        let sql = "insert into tidegate.storage_upload (id, repository, key, meta) \
             values ($1, $2, $3, $4::jsonb)";
        let values: Values<'_> = &[
            (&id, Type::TEXT),
            (&repository, Type::TEXT),
            (&key, Type::TEXT),
            (&meta, Type::TEXT),
        ];
        self.0.database.write(sql, values).await?;
        Ok(id)
    }

    /// Fails if there is no such upload.
    pub(super) async fn check(&self, upload: UploadAt<'_>) -> Result<(), StorageError> {
        let sql =
            "select 1 from tidegate.storage_upload where id = $1 and repository = $2 and key = $3";
        let shown = self
            .0
            .database
            .read(Owed::STRONG, sql, &upload.values())
            .await?;
        match shown.rows.is_empty() {
            true => Err(StorageError::NoSuchUpload),
            false => Ok(()),
        }
    }

    /// Stores a part.
    async fn put_part(
        &self,
        upload: &str,
        number: i32,
        landed: &Landed,
        checksums: &PartChecksums,
    ) -> Result<(), StorageError> {
        let checksums = serde_json::to_string(checksums).unwrap_or_default();
        let size = i64::try_from(landed.size).unwrap_or(i64::MAX);
        let given: Values<'_> = &[
            (&upload, Type::TEXT),
            (&number, Type::INT4),
            (&new_id(), Type::TEXT),
            (&size, Type::INT8),
            (&landed.digests.sha256, Type::TEXT),
            (&landed.digests.md5, Type::TEXT),
            (&landed.ids(), Type::TEXT_ARRAY),
            (&self.0.sweep_after.as_secs_f64(), Type::FLOAT8),
            (&checksums, Type::TEXT),
        ];
        let (sql, values) = match self.0.migrations.keeps_checksums_of_parts() {
            true => (
                "select tidegate.storage_put_part($1, $2, $3, $4, $5, $6, $9::jsonb, $7, \
                 $8::float8 * interval '1 s')",
                given,
            ),
            false => (
                "select tidegate.storage_put_part($1, $2, $3, $4, $5, $6, $7, $8::float8 * interval '1 s')",
                &given[..8],
            ),
        };
        self.0.outcome(sql, values).await.map(drop)
    }

    /// Puts parts together, in the order of their numbers.
    pub(super) async fn complete(
        &self,
        upload: UploadAt<'_>,
        parts: &[(i32, String)],
        etag: &str,
        conditions: &Conditions,
    ) -> Result<Option<WalPosition>, StorageError> {
        let sql = "select tidegate.storage_complete($2, $3, $1, $4, $5, $6, $7, $8, $9::float8 * interval '1 s')";
        let (numbers, etags): (Vec<i32>, Vec<String>) = parts.iter().cloned().unzip();
        let values: Values<'_> = &[
            (&upload.id, Type::TEXT),
            (&upload.repository, Type::TEXT),
            (&upload.key, Type::TEXT),
            (&numbers, Type::INT4_ARRAY),
            (&etags, Type::TEXT_ARRAY),
            (&etag, Type::TEXT),
            (&conditions.if_match, Type::TEXT),
            (&conditions.if_none_match, Type::TEXT),
            (&self.0.sweep_after.as_secs_f64(), Type::FLOAT8),
        ];
        self.0.outcome(sql, values).await
    }

    /// Gives an upload up.
    pub(super) async fn abort(&self, upload: UploadAt<'_>) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_abort($2, $3, $1, $4::float8 * interval '1 s')";
        let after = self.0.sweep_after.as_secs_f64();
        let [id, repository, key] = upload.values();
        let values: Values<'_> = &[id, repository, key, (&after, Type::FLOAT8)];
        self.0.outcome(sql, values).await.map(drop)
    }

    /// The parts after a number, in their order.
    pub(super) async fn parts(
        &self,
        upload: UploadAt<'_>,
        after: i32,
        most: i64,
    ) -> Result<Vec<StoredPart>, StorageError> {
        self.check(upload).await?;
        self.parts_of(upload.id, after, most).await
    }

    /// The same of an upload, or of the version that it has become, which the client is known to have.
    pub(super) async fn parts_of(
        &self,
        upload: &str,
        after: i32,
        most: i64,
    ) -> Result<Vec<StoredPart>, StorageError> {
        let checksums = match self.0.migrations.keeps_checksums_of_parts() {
            true => "coalesce(checksums::text, 'null')",
            false => "'null'",
        };
        let sql = format!(
            "select number, size, etag, floor(extract(epoch from modified))::bigint, {checksums} \
             from tidegate.storage_blob where version = $1 and number > $2 order by number limit $3"
        );
        let values: Values<'_> = &[
            (&upload, Type::TEXT),
            (&after, Type::INT4),
            (&most, Type::INT8),
        ];
        let rows = self.0.database.read(Owed::STRONG, &sql, values).await?.rows;
        let part = |row: &Row| {
            Ok(StoredPart {
                number: row.try_get(0)?,
                size: unsigned(Some(row.try_get(1)?)).unwrap_or_default(),
                etag: row.try_get(2)?,
                modified: row.try_get(3)?,
                checksums: json(row, 4)?,
            })
        };
        rows.iter().map(part).collect()
    }

    /// The uploads of a repository below a prefix that come after a key and an upload, in their order.
    pub(super) async fn list(
        &self,
        repository: &str,
        prefix: &str,
        after: (&str, &str),
        most: i64,
    ) -> Result<Vec<BegunUpload>, StorageError> {
        let sql = "select id, key, floor(extract(epoch from started))::bigint from tidegate.storage_upload \
             where repository = $1 and starts_with(key, $2) and (key, id) > ($3 collate \"C\", $4) \
             order by key, id limit $5";
        let values: Values<'_> = &[
            (&repository, Type::TEXT),
            (&prefix, Type::TEXT),
            (&after.0, Type::TEXT),
            (&after.1, Type::TEXT),
            (&most, Type::INT8),
        ];
        let rows = self.0.database.read(Owed::STRONG, sql, values).await?.rows;
        let upload = |row: &Row| {
            Ok(BegunUpload {
                id: row.try_get(0)?,
                key: row.try_get(1)?,
                started: row.try_get(2)?,
            })
        };
        rows.iter().map(upload).collect()
    }
}

impl UploadAt<'_> {
    fn values(&self) -> [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] {
        [
            (&self.id, Type::TEXT),
            (&self.repository, Type::TEXT),
            (&self.key, Type::TEXT),
        ]
    }
}

/// Stores a body as a part of an upload, with the checksums that are known when it has ended; returns its `ETag`.
pub(super) async fn put_part(
    target: &Target<'_>,
    upload: UploadAt<'_>,
    number: i32,
    mut spool: Spool,
    checksums: impl FnOnce() -> PartChecksums,
) -> Result<String, StorageError> {
    let uploads = Uploads(&target.store.index);
    uploads.check(upload).await?;
    let landed = target.land(&mut spool).await?;
    let checksums = checksums();
    let commit = uploads.put_part(upload.id, number, &landed, &checksums);
    target.commit(&landed.copies, commit).await?;
    Ok(landed.digests.md5)
}

/// The `ETag` of parts that are put together: the MD5 of their `MD5s`, and how many there are.
pub(super) fn combined_etag<'a>(etags: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let parts = etags.len();
    let mut md5 = Md5::new();
    for etag in etags {
        md5.update(bytes_of(etag)?);
    }
    Some(format!("{}-{parts}", hex(&md5.finalize())))
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| {
        let pair = hex.get(at..at + 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_that_of_s3() {
        let empty = "d41d8cd98f00b204e9800998ecf8427e";
        let combined = combined_etag([empty].into_iter());
        assert_eq!(
            combined.as_deref(),
            Some("59adb24ef3cdbe0297f05b395827453f-1")
        );
        assert_eq!(combined_etag(["x"].into_iter()), None);
        assert_eq!(combined_etag(["é1"].into_iter()), None);
    }
}
