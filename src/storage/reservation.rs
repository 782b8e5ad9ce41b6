//! Bytes that are counted in a bucket before they are sent, and until they are gone.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::StorageError;
use super::database::Values;
use super::fault::Left;
use super::index::Index;
use super::registry::{signed, unsigned};

/// What a reservation has found about its bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) held: u64,
    pub(super) written: u64,
}

impl Index {
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

    /// Keeps reservations, and the claims of suspect copies, while bytes are on their way.
    pub(super) async fn renew(&self, copies: &[String]) -> Result<(), StorageError> {
        let sql = "update tidegate.storage_copy set due = now() + $2::float8 * interval '1 s' \
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
}
