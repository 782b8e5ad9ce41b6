//! A write: reserve, send, commit; the next member when one fails.

use std::future::Future;

use futures_util::future::join_all;
use tidegate_model::WalPosition;

use super::StorageError;
use super::fault::{FaultKind, Left};
use super::index::{Conditions, Meta, NewVersion};
use super::inventory::{Inventory, Placement, Repository, pair};
use super::lease::Leases;
use super::registry::new_id;
use super::sending::{Sending, send_body};
use super::spool::{Digests, Spool};
use super::store::Store;

/// Where a body goes, and what it is for.
pub(super) struct Target<'a> {
    pub(super) store: &'a Store,
    pub(super) inventory: &'a Inventory,
    pub(super) repository: &'a Repository,
    pub(super) key: &'a str,
    /// The one bucket that the client has named, if it has.
    pub(super) only: Option<usize>,
}

/// What some buckets have of a body that nothing refers to yet.
pub(super) struct Landed {
    pub(super) copies: Vec<LandedCopy>,
    pub(super) digests: Digests,
    pub(super) size: u64,
}

/// A copy in a bucket that nothing refers to yet.
pub(super) struct LandedCopy {
    pub(super) bucket: usize,
    pub(super) id: String,
    pub(super) bytes: u64,
}

impl Landed {
    pub(super) fn ids(&self) -> Vec<String> {
        self.copies.iter().map(|copy| copy.id.clone()).collect()
    }
}

/// A version that was stored.
pub(super) struct Written {
    pub(super) etag: String,
    pub(super) position: Option<WalPosition>,
}

impl Target<'_> {
    /// Stores a body as the newest version of a key.
    pub(super) async fn put(
        &self,
        mut spool: Spool,
        meta: impl FnOnce() -> Meta,
        conditions: &Conditions,
    ) -> Result<Written, StorageError> {
        let landed = self.land(&mut spool).await?;
        let version = new_id();
        let new = NewVersion {
            repository: &self.repository.row.id,
            key: self.key,
            id: &version,
            size: landed.size,
            etag: &landed.digests.md5,
            sha256: &landed.digests.sha256,
            meta: &meta(),
            copies: &landed.ids(),
            conditions,
        };
        let commit = self.store.index.put(&new);
        let position = self.commit(&landed.copies, commit).await?;
        Ok(Written {
            etag: landed.digests.md5,
            position,
        })
    }

    /// Sends a body to as many members as the policy wants; takes some of the rest if that fails.
    pub(super) async fn land(&self, spool: &mut Spool) -> Result<Landed, StorageError> {
        let leases = Leases::default();
        let mut copies = Vec::new();
        let sent = self.send(spool, &leases, &mut copies);
        match leases.hold(&self.store.index, sent).await {
            Ok(digests) => Ok(Landed {
                copies,
                digests,
                size: spool.declared(),
            }),
            Err(error) => {
                self.discard(&copies).await;
                spool.drain().await;
                Err(error)
            }
        }
    }

    /// Sends a body to the members in their order: to as many at the same time as still have to have it.
    async fn send(
        &self,
        spool: &mut Spool,
        leases: &Leases,
        copies: &mut Vec<LandedCopy>,
    ) -> Result<Digests, StorageError> {
        let placement = self.placement(spool.declared());
        let wanted = match self.only {
            Some(_) => 1,
            None => placement.policy.copies(),
        };
        let mut order = placement.order.into_iter();
        let mut failed = None;
        while copies.len() < wanted {
            let missing = wanted - copies.len();
            let mut wave = self
                .reserved(&mut order, missing, spool.declared(), leases)
                .await?;
            if wave.len() < missing {
                self.give_up(wave).await;
                return Err(match failed {
                    Some(fault) => StorageError::NoMember(Some(fault)),
                    None => StorageError::QuotaExceeded(spool.declared(), wanted),
                });
            }
            if !spool.rewind() {
                self.give_up(wave).await;
                return Err(failed.map_or(StorageError::NoMember(None), StorageError::NotKept));
            }
            if let Err(error) = send_body(&mut wave, spool, &self.store.index).await {
                self.give_up(wave).await;
                return Err(error);
            }
            for sending in wave {
                let Some(fault) = &sending.fault else {
                    let bucket = &self.inventory.buckets[sending.bucket];
                    bucket.live.add_written(spool.declared());
                    bucket.live.taken.increment(spool.declared());
                    self.inventory.report(sending.bucket, None, None);
                    let pair = self.pair(sending.bucket);
                    self.store.tally.answered(pair, None);
                    self.store.tally.uploaded(pair, spool.declared());
                    copies.push(LandedCopy {
                        bucket: sending.bucket,
                        id: sending.copy,
                        bytes: spool.declared(),
                    });
                    continue;
                };
                self.inventory.fell_back(sending.bucket, fault);
                self.store.tally.failed(self.pair(sending.bucket));
                match fault.kind {
                    FaultKind::Quota => self.refuse_writes(sending.bucket).await,
                    _ => failed = Some(fault.clone()),
                }
                leases.remove(&sending.copy);
                sending.give_up(&self.store.index).await;
            }
        }
        let digests = spool.digests().cloned();
        digests.ok_or(StorageError::NoMember(None))
    }

    /// Reserves a body's bytes at the next members that have room, fewer than are wanted if there are not
    /// so many.
    async fn reserved(
        &self,
        order: &mut impl Iterator<Item = usize>,
        wanted: usize,
        bytes: u64,
        leases: &Leases,
    ) -> Result<Vec<Sending<'_>>, StorageError> {
        let mut wave = Vec::new();
        while wave.len() < wanted {
            let Some(index) = order.next() else { break };
            let (bucket, copy) = (&self.inventory.buckets[index], new_id());
            match self.store.index.reserve(&copy, &bucket.row.id, bytes).await {
                Ok(Some(usage)) => {
                    bucket.live.note(usage.held, usage.written);
                    leases.add(&copy);
                    wave.push(Sending::new(index, bucket.backend(), copy));
                }
                Ok(None) => {}
                Err(error) => {
                    self.give_up(wave).await;
                    return Err(error);
                }
            }
        }
        Ok(wave)
    }

    async fn give_up(&self, wave: Vec<Sending<'_>>) {
        for sending in wave {
            sending.give_up(&self.store.index).await;
        }
    }

    async fn refuse_writes(&self, bucket: usize) {
        let id = &self.inventory.buckets[bucket].row.id;
        if let Err(error) = self.store.index.refuse_writes(id).await {
            tracing::warn!(%error, "a bucket that is full could not be taken out of writes");
        }
    }

    /// Commits copies, whose reservations are kept meanwhile. Discards those that were certainly not
    /// committed; after any other failure they may have been, which the sweeper finds out.
    pub(super) async fn commit<T>(
        &self,
        copies: &[LandedCopy],
        commit: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let leases = Leases::default();
        for copy in copies {
            leases.add(&copy.id);
        }
        let committed = leases.hold(&self.store.index, commit).await;
        if let Err(
            StorageError::ConditionFailed
            | StorageError::NoSuchKey
            | StorageError::NoSuchUpload
            | StorageError::LeaseLost,
        ) = &committed
        {
            self.discard(copies).await;
        }
        committed
    }

    /// Deletes copies that nothing will refer to. Their rows may be gone: the sweeper has taken a
    /// reservation that had expired, and found no bytes yet. What a bucket does not delete is counted and
    /// left to the sweeper.
    async fn discard(&self, copies: &[LandedCopy]) {
        let index = &self.store.index;
        let discards = copies.iter().map(|copy| async move {
            let bucket = &self.inventory.buckets[copy.bucket];
            if bucket.backend().delete(&copy.id).await.is_ok() {
                let bytes = i64::try_from(copy.bytes).unwrap_or(i64::MAX);
                self.store.tally.resized(self.pair(copy.bucket), -bytes);
                return index.give_up(&copy.id, Left::Nothing).await;
            }
            if let Err(error) = index.doom(&copy.id, &bucket.row.id, copy.bytes).await {
                tracing::warn!(bucket = bucket.name(), copy = copy.id, %error,
                    "bytes that nothing refers to may stay in a bucket");
            }
        });
        join_all(discards).await;
    }

    fn pair(&self, bucket: usize) -> (&str, &str) {
        pair(self.repository, self.inventory, bucket)
    }

    /// The bucket that gets a write of so many bytes, if it is only one.
    pub(super) fn first_alone(&self, bytes: u64) -> Option<usize> {
        let placement = self.placement(bytes);
        let is_alone = self.only.is_some() || placement.policy.copies() == 1;
        placement.order.first().copied().filter(|_| is_alone)
    }

    fn placement(&self, bytes: u64) -> Placement {
        let placement = self.inventory.place(self.repository, self.key, bytes);
        match self.only {
            Some(bucket) => Placement {
                order: vec![bucket],
                ..placement
            },
            None => placement,
        }
    }
}
