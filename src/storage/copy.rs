//! Copies of objects: by the bucket itself where it can, else by reading and writing.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;

use super::StorageError;
use super::error::BodyError;
use super::index::{Blob, Version};
use super::read::Source;
use super::registry::new_id;
use super::spool::{Check, Incoming, Spool};
use super::store::Store;
use super::write::Target;
use tokio_postgres::types::Type;

/// Bytes that were hashed on the way out of a bucket need no other comparison.
pub(super) struct Unchecked;

impl Check for Unchecked {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<(), BodyError> {
        Ok(())
    }
}

impl Store {
    /// A body that consists of bytes of a version.
    pub(super) async fn body_of(
        self: &Arc<Self>,
        source: Source,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Spool, StorageError> {
        let length = range.end - range.start;
        let reading = source.open(version, range).await?;
        let bytes = reading.into_stream();
        let bytes: Incoming = bytes
            .map(|chunk| chunk.map_err(|_fault| BodyError::Incomplete))
            .boxed();
        let room = Arc::clone(&self.room);
        Ok(Spool::new(room, bytes, length, Box::new(Unchecked))?)
    }

    /// Adds a copy of every blob of a version in one bucket, where there is none: version and `ETag` stay.
    pub(super) async fn add_copies(
        self: &Arc<Self>,
        target: &Target<'_>,
        source: impl Fn() -> Source,
        version: &Version,
    ) -> Result<(), StorageError> {
        let Some(bucket) = target.only else {
            return Ok(());
        };
        let id = &target.catalogue.buckets[bucket].row.id;
        for blob in &version.blobs {
            if blob.copies.iter().any(|copy| copy.bucket == *id) {
                continue;
            }
            let copy = match self.copied_by_provider(target, bucket, blob).await? {
                Some(copy) => copy,
                None => {
                    let alone = Version {
                        size: blob.size,
                        blobs: vec![blob.clone()],
                        ..version.clone()
                    };
                    let mut spool = self.body_of(source(), &alone, 0..blob.size).await?;
                    let landed = self.send(target, &mut spool).await?;
                    let first = landed.copies.into_iter().next();
                    first.ok_or(StorageError::NoMember(None))?
                }
            };
            self.index.add_copy(&blob.id, &copy).await?;
        }
        Ok(())
    }

    /// Lets a bucket copy a blob that it has already, without its bytes passing here.
    pub(super) async fn copied_by_provider(
        &self,
        target: &Target<'_>,
        bucket: usize,
        blob: &Blob,
    ) -> Result<Option<String>, StorageError> {
        let at = &target.catalogue.buckets[bucket];
        let Some(from) = blob.copies.iter().find(|copy| copy.bucket == at.row.id) else {
            return Ok(None);
        };
        let copy = new_id();
        let reserved = self.index.reserve(&copy, &at.row.id, blob.size).await?;
        if reserved.is_none() {
            return Ok(None);
        }
        match at.backend().copy(&from.id, &copy, blob.size).await {
            Ok(()) => Ok(Some(copy)),
            Err(fault) => {
                tracing::debug!(bucket = at.name(), %fault, "a bucket does not copy by itself");
                Ok(None)
            }
        }
    }
}

impl super::index::Index {
    async fn add_copy(&self, blob: &str, copy: &str) -> Result<(), StorageError> {
        let sql = "select tidegate.storage_add_copy($1, $2)";
        let values = &[
            (
                &blob as &(dyn tokio_postgres::types::ToSql + Sync),
                Type::TEXT,
            ),
            (&copy, Type::TEXT),
        ];
        let shown = self.database.write(sql, values).await?;
        let row = shown.rows.first();
        match row.map(|row| row.try_get::<_, bool>(0)).transpose()? {
            Some(true) => Ok(()),
            _ => Err(StorageError::NoSuchKey),
        }
    }
}
