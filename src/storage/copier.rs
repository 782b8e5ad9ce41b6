//! Copies of blobs that are written into another bucket, and proven by reading them back in full.

use tidegate_telemetry::names;
use tokio::time::Instant;

use super::StorageError;
use super::fault::{Fault, FaultKind, Left};
use super::index::StoredCopy;
use super::inventory::Inventory;
use super::lease::Leases;
use super::live::{standing, works};
use super::object_name::ObjectName;
use super::registry::new_id;
use super::sending::Sending;
use super::store::Store;
use super::task::{Task, Tasks};
use super::transfer::TransferError;

/// Why a task is not done yet; what an operator reads of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undone {
    #[error("bucket `{0}`: {1}")]
    Bucket(String, Fault),
    #[error("bucket `{0}` has no quota left, or takes no writes")]
    Full(String),
    #[error("no copy gives the right bytes")]
    NoSource,
    #[error("no other member of its repository can take it")]
    NoMember,
    #[error("bucket `{0}` returns other bytes than it was given")]
    Damaged(String),
    /// Nothing has failed: the copy was replaced or moved meanwhile, or another gateway has the task.
    #[error("another change came first")]
    Overtaken,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Writes and reads copies.
#[derive(Clone, Copy)]
pub(super) struct Copier<'a> {
    pub(super) store: &'a Store,
    pub(super) inventory: &'a Inventory,
    /// The index of the bucket whose tasks these are.
    pub(super) at: usize,
}

impl Copier<'_> {
    /// Writes a blob into a bucket and reads it back in full. Returns the new copy, which nothing refers to
    /// yet, and the SHA-256.
    pub(super) async fn copy_to(
        &self,
        task: &Task,
        to: usize,
        leases: &Leases,
    ) -> Result<(String, String), Undone> {
        let (bucket, index) = (&self.inventory.buckets[to], &self.store.index);
        let size = task.expected.size;
        let copy = new_id();
        if index.reserve(&copy, &bucket.row.id, size).await?.is_none() {
            return Err(Undone::Full(bucket.name().to_owned()));
        }
        leases.add(&copy);
        for (from, source) in self.sources(task, to) {
            let backend = self.inventory.buckets[from].backend();
            // Bytes that were never compared are read twice: what differs is not what was stored.
            let expected = match task.expected.learnt(backend, source.object()).await {
                Ok(Some(expected)) => expected,
                Ok(None) => {
                    index.suspect(&source.id).await?;
                    continue;
                }
                Err(fault) => {
                    self.inventory.report(from, Some(&fault), None);
                    continue;
                }
            };
            let mut sending = Sending::new(to, bucket.backend(), copy.clone());
            let sent = expected.transfer(self.store, backend, source.object(), &mut sending);
            let sha256 = match sent.await {
                Ok(sha256) => sha256,
                Err(TransferError::Target(fault)) => {
                    if fault.kind == FaultKind::Quota {
                        index.refuse_writes(&bucket.row.id).await?;
                    }
                    self.inventory.report(to, Some(&fault), None);
                    sending.give_up(index).await;
                    return Err(Undone::Bucket(bucket.name().to_owned(), fault));
                }
                Err(TransferError::Storage(error)) => {
                    sending.give_up(index).await;
                    return Err(error.into());
                }
                Err(TransferError::TimedOut) => {
                    // What has arrived is not known: the sweeper asks when the lease ends.
                    let _left = sending.abort().await;
                    return Err(Undone::NoSource);
                }
                Err(wrong) => {
                    if matches!(wrong, TransferError::WrongSource) {
                        index.suspect(&source.id).await?;
                    }
                    if let Err(fault) = sending.abort().await {
                        return Err(Undone::Bucket(bucket.name().to_owned(), fault));
                    }
                    continue;
                }
            };
            return self.proven(task, to, copy, sha256).await;
        }
        index.give_up(&copy, Left::Nothing).await;
        Err(Undone::NoSource)
    }

    /// Reads a copy back that was just written.
    async fn proven(
        &self,
        task: &Task,
        to: usize,
        copy: String,
        sha256: String,
    ) -> Result<(String, String), Undone> {
        let (bucket, index) = (&self.inventory.buckets[to], &self.store.index);
        bucket.live.add_written(task.expected.size);
        let mut expected = task.expected.clone();
        expected.sha256 = sha256;
        let object = ObjectName::Own(&copy);
        match expected.read(bucket.backend(), object).await {
            Ok(Some(sha256)) => Ok((copy, sha256)),
            Ok(None) => {
                let undone = self.damaged(task, to, &copy).await?;
                index.doom(&copy, &bucket.row.id, expected.size).await?;
                Err(undone)
            }
            // Its lease ends, and the sweeper deletes it.
            Err(fault) => {
                self.inventory.report(to, Some(&fault), None);
                Err(Undone::Bucket(bucket.name().to_owned(), fault))
            }
        }
    }

    /// The copies that bytes can be taken from: those in buckets that work first.
    fn sources<'t>(&self, task: &'t Task, to: usize) -> Vec<(usize, &'t StoredCopy)> {
        let ranking = self.inventory.selector.ranking(Instant::now());
        let sources = task
            .good()
            .filter_map(|copy| Some((self.inventory.index_of(&copy.bucket)?, copy)));
        let mut sources: Vec<_> = sources.filter(|(from, _)| *from != to).collect();
        sources.sort_by_key(|(from, _)| {
            let (standing, rank) = standing(&ranking, *from);
            (!works(standing), rank)
        });
        sources
    }

    /// Reads a copy back in full. One that is wrong is recorded, and repaired if there is another.
    pub(super) async fn read_back(
        &self,
        task: &Task,
        at: usize,
        copy: &StoredCopy,
    ) -> Result<String, Undone> {
        let bucket = &self.inventory.buckets[at];
        let (backend, object) = (bucket.backend(), copy.object());
        let read = match task.expected.learnt(backend, object).await {
            Ok(Some(expected)) => expected.read(backend, object).await,
            other => other.map(|_absent| None),
        };
        match read {
            Ok(Some(sha256)) => Ok(sha256),
            Ok(None) => Err(self.damaged(task, at, &copy.id).await?),
            Err(fault) => {
                self.inventory.report(at, Some(&fault), None);
                Err(Undone::Bucket(bucket.name().to_owned(), fault))
            }
        }
    }

    /// Records and counts a copy that is not what it should be, once, and unless it need not be any more.
    async fn damaged(&self, task: &Task, at: usize, copy: &str) -> Result<Undone, StorageError> {
        let bucket = &self.inventory.buckets[at];
        let undone = Undone::Damaged(bucket.name().to_owned());
        let of = (&*bucket.row.id, copy);
        let error = undone.to_string();
        if !self.tasks().restore_failed(task, of, &error).await? {
            return Ok(Undone::Overtaken);
        }
        count_restore(bucket.name(), "failed");
        tracing::error!(
            bucket = bucket.name(),
            key = task.key,
            copy,
            "a copy cannot be restored"
        );
        Ok(undone)
    }

    /// The tasks of its bucket.
    pub(super) fn tasks(&self) -> Tasks<'_> {
        Tasks {
            index: &self.store.index,
            bucket: &self.inventory.buckets[self.at].row.id,
        }
    }
}

/// Counts a copy that was read back, or was to be.
pub(super) fn count_restore(bucket: &str, outcome: &'static str) {
    metrics::counter!(names::STORAGE_RESTORES, "bucket" => bucket.to_owned(), "outcome" => outcome)
        .increment(1);
}
