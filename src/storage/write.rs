//! A write: reserve, send, commit; the next member when one fails.

use std::pin::pin;

use futures_util::future::join;
use tidegate_model::WalPosition;
use tokio::time::{Instant, interval_at};

use super::StorageError;
use super::backend::{BucketBackend, PART_BYTES};
use super::fault::{Fault, FaultKind};
use super::index::{Conditions, Left, Meta, NewVersion};
use super::inventory::{Inventory, Placement, Repository};
use super::registry::new_id;
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

/// Why one bucket did not get a body.
enum Missed {
    /// Its quota is spent.
    Quota,
    /// It failed.
    Fault(Fault),
    /// Nothing can be done about it elsewhere.
    Final(StorageError),
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
        match self.store.index.put(&new).await {
            Ok(position) => Ok(Written {
                etag: landed.digests.md5,
                position,
            }),
            Err(error) => {
                if matches!(
                    error,
                    StorageError::ConditionFailed | StorageError::NoSuchKey
                ) {
                    self.release(&landed.copies).await;
                }
                // Else it may have been committed: the sweeper finds out.
                Err(error)
            }
        }
    }

    /// Sends a body to as many members as the policy wants; takes some of the rest if that fails.
    pub(super) async fn land(&self, spool: &mut Spool) -> Result<Landed, StorageError> {
        let landed = self.send(spool).await;
        if landed.is_err() {
            spool.drain().await;
        }
        landed
    }

    async fn send(&self, spool: &mut Spool) -> Result<Landed, StorageError> {
        let bytes = spool.declared();
        let placement = self.placement(bytes);
        let wanted = match self.only {
            Some(_) => 1,
            None => placement.policy.copies(),
        };
        let mut copies = Vec::new();
        let mut failed = None;
        for (attempt, &bucket) in placement.order.iter().enumerate() {
            if copies.len() == wanted {
                break;
            }
            if attempt > 0 && !spool.rewind() {
                self.release(&copies).await;
                return Err(failed.map_or(StorageError::NoMember(None), StorageError::NotKept));
            }
            match self.attempt(bucket, spool).await {
                Ok(copy) => copies.push(copy),
                Err(Missed::Quota) => {}
                Err(Missed::Fault(fault)) => failed = Some(fault),
                Err(Missed::Final(error)) => {
                    self.release(&copies).await;
                    return Err(error);
                }
            }
        }
        if copies.len() < wanted {
            self.release(&copies).await;
            return Err(match failed {
                Some(fault) if fault.kind != FaultKind::Quota => {
                    StorageError::NoMember(Some(fault))
                }
                _ => StorageError::QuotaExceeded(bytes),
            });
        }
        let digests = spool.digests().cloned();
        let digests = digests.ok_or(StorageError::NoMember(None))?;
        Ok(Landed {
            copies,
            digests,
            size: bytes,
        })
    }

    /// Sends a body to one bucket; returns the id of its copy.
    async fn attempt(&self, index: usize, spool: &mut Spool) -> Result<String, Missed> {
        let bucket = &self.inventory.buckets[index];
        let (copy, bytes) = (new_id(), spool.declared());
        let reserved = self.store.index.reserve(&copy, &bucket.row.id, bytes).await;
        match reserved.map_err(Missed::Final)? {
            Some(usage) => bucket.live.note(usage.held, usage.written),
            None => return Err(Missed::Quota),
        }
        let sent = {
            let mut sending = pin!(send_body(bucket.backend(), &copy, spool));
            let third = self.store.settings.lease / 3;
            let mut renewal = interval_at(Instant::now() + third, third);
            loop {
                tokio::select! {
                    sent = &mut sending => break sent,
                    _ = renewal.tick() => {
                        if let Err(error) = self.store.index.renew(&copy).await {
                            tracing::warn!(%error, "a reservation could not be renewed");
                        }
                    }
                }
            }
        };
        let fault = match sent {
            Ok(()) => {
                bucket.live.add_written(bytes);
                self.inventory.report(index, None, None);
                return Ok(copy);
            }
            Err(SendError::Body(error, left)) => {
                self.give_up(&copy, left).await;
                return Err(Missed::Final(error));
            }
            Err(SendError::Fault(fault)) => fault,
        };
        self.inventory.fell_back(index, &fault);
        let left = match fault.kind {
            FaultKind::Quota | FaultKind::Refused | FaultKind::Throttled => Left::Nothing,
            _ => Left::Unknown,
        };
        self.give_up(&copy, left).await;
        if fault.kind == FaultKind::Quota
            && let Err(error) = self.store.index.refuse_writes(&bucket.row.id).await
        {
            tracing::warn!(%error, "a bucket that is full could not be taken out of writes");
        }
        Err(Missed::Fault(fault))
    }

    async fn release(&self, copies: &[String]) {
        for copy in copies {
            self.give_up(copy, Left::Bytes).await;
        }
    }

    async fn give_up(&self, copy: &str, left: Left) {
        if let Err(error) = self.store.index.release(copy, left).await {
            // The lease ends it.
            tracing::debug!(%error, "a reservation could not be released");
        }
    }
}

impl Target<'_> {
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

/// Why a body did not arrive.
enum SendError {
    /// The client's body.
    Body(StorageError, Left),
    Fault(Fault),
}

impl From<Fault> for SendError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Sends a body at once if it is small, else in parts: the next one is received while one is sent.
async fn send_body(
    backend: &BucketBackend,
    copy: &str,
    spool: &mut Spool,
) -> Result<(), SendError> {
    let unsent = |error| SendError::Body(error, Left::Nothing);
    let first = spool.take(PART_BYTES).await.map_err(unsent)?;
    if spool.declared() <= PART_BYTES as u64 {
        // The end is seen, and the digests are compared, before anything is sent.
        spool.take(1).await.map_err(unsent)?;
        return Ok(backend.put(copy, first).await?);
    }
    let mut upload = backend.begin(copy).await?;
    let mut part = first;
    let sent = loop {
        let (sent, next) = join(upload.part(part), spool.take(PART_BYTES)).await;
        // A body that is wrong is refused, whatever the bucket says: no other may get it.
        let next = match next {
            Err(error) => break Err(SendError::Body(error, Left::Unknown)),
            Ok(next) => next,
        };
        match sent {
            Err(fault) => break Err(fault.into()),
            Ok(()) if next.is_empty() => break Ok(()),
            Ok(()) => part = next,
        }
    };
    let done = match sent {
        Ok(()) => upload.complete().await.map_err(SendError::Fault),
        failed => failed,
    };
    if done.is_err() {
        // Not awaited: a bucket that is silent must not hold the client up.
        tokio::spawn(async move { upload.abort().await });
    }
    done
}
