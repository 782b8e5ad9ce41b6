//! Copies of objects: by the bucket itself where it can, else by reading and writing.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;

use super::StorageError;
use super::error::IncomingError;
use super::index::{Blob, Version};
use super::inventory::pair;
use super::lease::Leases;
use super::read::Reading;
use super::registry::new_id;
use super::source::Source;
use super::spool::{Check, Incoming, Spool};
use super::write::{LandedCopy, Target};

/// Bytes that were hashed on the way out of a bucket need no other comparison.
pub(super) struct Unchecked;

impl Check for Unchecked {
    fn update(&mut self, _: &[u8]) {}

    fn finish(&mut self) -> Result<(), IncomingError> {
        Ok(())
    }
}

impl Source {
    /// A body that consists of bytes of a version, which are shown to a check on their way.
    pub(super) async fn body(
        self,
        version: &Version,
        range: Range<u64>,
        check: Box<dyn Check>,
    ) -> Result<Spool, StorageError> {
        let length = range.end - range.start;
        let room = Arc::clone(&self.store.room);
        let reading = Reading::open(self, version, range).await?;
        let bytes = reading.into_stream();
        let bytes: Incoming = bytes
            .map(|chunk| chunk.map_err(|_fault| IncomingError::SourceFailed))
            .boxed();
        Ok(Spool::new(room, bytes, length, check)?)
    }
}

impl Target<'_> {
    /// Adds a copy of every blob of a version in one bucket, where there is none: version and `ETag` stay.
    pub(super) async fn add_copies(
        &self,
        source: impl Fn() -> Source,
        version: &Version,
    ) -> Result<(), StorageError> {
        let Some(bucket) = self.only else {
            return Ok(());
        };
        let id = &self.inventory.buckets[bucket].row.id;
        for blob in &version.blobs {
            if blob.good().any(|copy| copy.bucket == *id) {
                continue;
            }
            let copy = match self.copied_by_provider(bucket, blob).await? {
                Some(copy) => copy,
                None => {
                    let alone = Version {
                        size: blob.size,
                        blobs: vec![blob.clone()],
                        ..version.clone()
                    };
                    let mut spool = source()
                        .body(&alone, 0..blob.size, Box::new(Unchecked))
                        .await?;
                    let landed = self.land(&mut spool).await?;
                    let first = landed.copies.into_iter().next();
                    first.ok_or(StorageError::NoMember(None))?
                }
            };
            let added = self.store.index.add_copy(&blob.id, &copy.id);
            self.commit(std::slice::from_ref(&copy), added).await?;
        }
        Ok(())
    }

    /// Lets a bucket copy a blob that it has already, without its bytes passing here.
    pub(super) async fn copied_by_provider(
        &self,
        bucket: usize,
        blob: &Blob,
    ) -> Result<Option<LandedCopy>, StorageError> {
        let at = &self.inventory.buckets[bucket];
        // Whether an imported object is still the same, a provider is not asked.
        let mut good = blob.good();
        let Some(from) = good.find(|copy| copy.bucket == at.row.id && copy.vendor.is_none()) else {
            return Ok(None);
        };
        let copy = new_id();
        let reserved = self
            .store
            .index
            .reserve(&copy, &at.row.id, blob.size)
            .await?;
        if reserved.is_none() {
            return Ok(None);
        }
        let leases = Leases::default();
        leases.add(&copy);
        let copied = at.backend().copy(&from.id, &copy, blob.size);
        match leases.hold(&self.store.index, copied).await {
            Ok(()) => {
                at.live.add_written(blob.size);
                let bytes = i64::try_from(blob.size).unwrap_or(i64::MAX);
                let pair = pair(self.repository, self.inventory, bucket);
                self.store.tally.resized(pair, bytes);
                Ok(Some(LandedCopy {
                    bucket,
                    id: copy,
                    bytes: blob.size,
                }))
            }
            Err(fault) => {
                tracing::debug!(bucket = at.name(), %fault, "a bucket does not copy by itself");
                self.store.index.give_up(&copy, fault.left()).await;
                Ok(None)
            }
        }
    }
}
