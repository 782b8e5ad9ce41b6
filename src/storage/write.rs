//! A write: reserve, send, commit; the next member when one fails.

use tidegate_model::WalPosition;

use super::StorageError;
use super::fault::FaultKind;
use super::index::{Conditions, Left, Meta, NewVersion};
use super::inventory::{Inventory, Placement, Repository};
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
    pub(super) copies: Vec<String>,
    pub(super) digests: Digests,
    pub(super) size: u64,
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
            copies: &landed.copies,
            conditions,
        };
        let committed = self.store.index.put(&new).await;
        let position = self.settled(&landed.copies, committed).await?;
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
                self.release(&copies).await;
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
        copies: &mut Vec<String>,
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
                    None => StorageError::QuotaExceeded(spool.declared()),
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
                    self.inventory.report(sending.bucket, None, None);
                    copies.push(sending.copy);
                    continue;
                };
                self.inventory.fell_back(sending.bucket, fault);
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

    async fn release(&self, copies: &[String]) {
        for copy in copies {
            self.store.index.give_up(copy, Left::Bytes).await;
        }
    }

    /// Lets copies go that were certainly not committed. After any other failure they may have been: the
    /// sweeper finds out.
    pub(super) async fn settled<T>(
        &self,
        copies: &[String],
        committed: Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if let Err(
            StorageError::ConditionFailed
            | StorageError::NoSuchKey
            | StorageError::NoSuchUpload
            | StorageError::LeaseLost,
        ) = &committed
        {
            self.release(copies).await;
        }
        committed
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
