//! One round of moving bytes at one bucket: into a cold mirror, back from it to prove that it can be restored,
//! or away from a bucket that is drained.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::copier::{Copier, Undone, count_restore};
use super::index::StoredCopy;
use super::inventory::{Inventory, Repository};
use super::lease::Leases;
use super::registry::new_id;
use super::setbacks::Setbacks;
use super::store::Store;
use super::task::{Task, TaskKind, Tasks};
use super::turns::Turns;

/// Blobs of one bucket that one gateway moves at the same time. Most of what a small one takes is waiting for
/// answers, one after the other; but the connections to the database are those of clients too.
const WORKERS: usize = 12;
/// Those of them that are large: each needs memory for its parts.
const LARGE_MAX: usize = 8;
/// The most bytes of a blob that is not large.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// How long one round begins tasks: the next one knows what operators have changed meanwhile.
const ROUND_MAX: Duration = Duration::from_secs(4);
/// Copies of a bucket that is drained that become tasks at once.
const DRAIN_BATCH: i32 = 1000;

/// One round at one bucket.
pub(super) struct Mover<'a> {
    copier: Copier<'a>,
    /// The index of the bucket.
    at: usize,
    until: Instant,
    done: AtomicUsize,
    setbacks: Setbacks,
    large: Semaphore,
    turns: Turns,
}

impl<'a> Mover<'a> {
    pub(super) fn new(store: &'a Store, inventory: &'a Inventory, at: usize) -> Self {
        Self {
            copier: Copier {
                store,
                inventory,
                at,
            },
            at,
            until: Instant::now() + ROUND_MAX,
            done: AtomicUsize::default(),
            setbacks: Setbacks::default(),
            large: Semaphore::new(LARGE_MAX),
            turns: Turns::default(),
        }
    }
}

impl Mover<'_> {
    /// Works until nothing is due, the bucket fails, or its time is over: then it is true, and there may be more.
    pub(super) async fn round(&self) -> bool {
        let bucket = &self.copier.inventory.buckets[self.at];
        loop {
            if bucket.row.draining
                && let Err(error) = self.tasks().drain(DRAIN_BATCH).await
            {
                tracing::warn!(bucket = bucket.name(), %error, "a bucket cannot be drained");
                return false;
            }
            match self.tasks().repositories().await {
                Ok(due) => self.turns.begin(due),
                Err(error) => {
                    tracing::warn!(%error, "tasks of storage cannot be found");
                    return false;
                }
            }
            let before = self.done.load(Ordering::Relaxed);
            join_all((0..WORKERS).map(|_| self.work())).await;
            let has_moved = self.done.load(Ordering::Relaxed) > before;
            let is_over = Instant::now() > self.until;
            if !has_moved || is_over || !bucket.row.draining {
                return has_moved && is_over;
            }
        }
    }

    fn tasks(&self) -> Tasks<'_> {
        self.copier.tasks()
    }

    async fn work(&self) {
        while Instant::now() < self.until {
            let Some(repository) = self.turns.next() else {
                return;
            };
            let claim = new_id();
            let task = match self.tasks().claim(&repository, &claim).await {
                Ok(Some(task)) => task,
                Ok(None) => {
                    self.turns.leave(&repository);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "tasks of storage cannot be claimed");
                    return;
                }
            };
            let leases = Leases::default();
            leases.add(&claim);
            let done = self.perform(&task, &leases);
            match leases.hold(&self.copier.store.index, done).await {
                Ok(()) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    self.setbacks.end();
                }
                Err(undone) => {
                    self.put_off(&task, &undone).await;
                    if self.is_enough(&undone) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the bucket had better be left alone after this.
    fn is_enough(&self, undone: &Undone) -> bool {
        let name = self.copier.inventory.buckets[self.at].name();
        match undone {
            Undone::Bucket(of, fault) => of == name && self.setbacks.add(fault.kind),
            Undone::Full(of) => of == name,
            Undone::NoSource
            | Undone::NoMember
            | Undone::Damaged(_)
            | Undone::Overtaken
            | Undone::Storage(_) => false,
        }
    }

    /// Notes why a task is not done.
    async fn put_off(&self, task: &Task, undone: &Undone) {
        let (kind, name) = (
            task.kind.as_str(),
            self.copier.inventory.buckets[self.at].name().to_owned(),
        );
        let tasks = self.tasks();
        let has_failed = match undone {
            Undone::Overtaken => tasks.again(task).await.map(|()| false),
            undone => tasks.fail(task, &undone.to_string()).await,
        };
        match has_failed {
            Ok(true) => {
                // Buckets fail now and then; and one that stays away must not fill the log.
                if task.failures == 3 {
                    tracing::error!(bucket = name, kind, key = task.key, error = %undone, "bytes cannot be moved");
                }
                if task.kind == TaskKind::Restore {
                    count_restore(&name, "unanswered");
                }
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a task of storage could not be put off"),
        }
    }

    async fn perform(&self, task: &Task, leases: &Leases) -> Result<(), Undone> {
        if task.is_stale {
            return Ok(self.tasks().cancel(task).await?);
        }
        let _turn = match task.expected.size > SMALL_BYTES_MAX {
            true => self.large.acquire().await.ok(),
            false => None,
        };
        match task.kind {
            TaskKind::Mirror => self.mirror(task, leases).await,
            TaskKind::Restore => self.restore(task).await,
            TaskKind::Drain => self.drain(task, leases).await,
        }
    }

    /// Copies a blob into the mirror, and reads it back.
    async fn mirror(&self, task: &Task, leases: &Leases) -> Result<(), Undone> {
        let bucket = &self.copier.inventory.buckets[self.at];
        let there = |copy: &&StoredCopy| copy.bucket == bucket.row.id;
        // One that is suspect is repaired, unless it was imported: there is another then.
        let damaged = |copy: &&StoredCopy| there(copy) && copy.is_suspect && copy.vendor.is_none();
        let good = task.good().find(there);
        let there = good.or_else(|| task.copies.iter().find(damaged));
        let (copy, sha256) = match there {
            Some(copy) if copy.is_suspect => {
                return Err(Undone::Damaged(bucket.name().to_owned()));
            }
            Some(copy) => (
                copy.id.clone(),
                self.copier.read_back(task, self.at, copy).await?,
            ),
            None => self.copier.copy_to(task, self.at, leases).await?,
        };
        if self.end(task, self.at, &copy, &sha256).await? {
            count_restore(bucket.name(), "restored");
        }
        Ok(())
    }

    /// Reads a copy of the mirror back.
    async fn restore(&self, task: &Task) -> Result<(), Undone> {
        let bucket = &self.copier.inventory.buckets[self.at];
        let Some(copy) = task.good().find(|copy| copy.bucket == bucket.row.id) else {
            // Suspect already, or gone.
            return Ok(self.tasks().cancel(task).await?);
        };
        match self.copier.read_back(task, self.at, copy).await {
            Ok(sha256) => {
                if self.tasks().end(task, &copy.id, &sha256).await? {
                    count_restore(bucket.name(), "restored");
                }
                Ok(())
            }
            // It is recorded, and repaired.
            Err(Undone::Damaged(_)) => Ok(()),
            Err(undone) => Err(undone),
        }
    }

    /// Moves a blob away.
    async fn drain(&self, task: &Task, leases: &Leases) -> Result<(), Undone> {
        let Some(repository) = self.repository(task) else {
            return Err(Undone::NoMember);
        };
        if let Some((at, copy)) = self.enough_elsewhere(task, repository) {
            let sha256 = self.copier.read_back(task, at, copy).await?;
            return self.end(task, at, &copy.id, &sha256).await.map(drop);
        }
        let placement = self
            .copier
            .inventory
            .place(repository, &task.key, task.expected.size);
        let mut failed = Undone::NoMember;
        for to in placement.order {
            let id = &self.copier.inventory.buckets[to].row.id;
            if to == self.at || task.copies.iter().any(|copy| copy.bucket == *id) {
                continue;
            }
            match self.copier.copy_to(task, to, leases).await {
                Ok((copy, sha256)) => {
                    return self.end(task, to, &copy, &sha256).await.map(drop);
                }
                Err(undone @ (Undone::Bucket(..) | Undone::Full(_) | Undone::Damaged(_))) => {
                    failed = undone;
                }
                Err(undone) => return Err(undone),
            }
        }
        Err(failed)
    }

    fn repository(&self, task: &Task) -> Option<&Repository> {
        let mut all = self.copier.inventory.repositories.iter();
        all.find(|it| it.row.id == task.repository).map(|it| &**it)
    }

    /// A good copy that stays when this bucket has none, if there are as many as the policy wants: at the
    /// members, or at a mirror beside which none are kept.
    fn enough_elsewhere<'t>(
        &self,
        task: &'t Task,
        repository: &Repository,
    ) -> Option<(usize, &'t StoredCopy)> {
        let at = |index: usize| {
            let row = &self.copier.inventory.buckets[index].row;
            let mut copies = task.good().filter(|_| !row.draining);
            copies
                .find(|copy| copy.bucket == row.id)
                .map(|copy| (index, copy))
        };
        let policy = &repository.row.policy;
        let mirror = policy.mirror.as_ref().filter(|mirror| !mirror.keep_hot);
        let mirrored = mirror.and_then(|mirror| at(self.copier.inventory.named(&mirror.to)?));
        let members = repository.members.iter();
        let mut members = members.filter_map(|&index| at(index));
        let first = members.next();
        let count = usize::from(first.is_some()) + members.count();
        mirrored.or(first.filter(|_| count >= policy.for_key(&task.key).0.copies()))
    }

    /// Ends a task; bytes that are not needed any more are deleted. False if it was overtaken.
    async fn end(&self, task: &Task, at: usize, copy: &str, sha256: &str) -> Result<bool, Undone> {
        let has_ended = self.tasks().end(task, copy, sha256).await?;
        if !has_ended && !task.copies.iter().any(|it| it.id == copy) {
            let bucket = &self.copier.inventory.buckets[at];
            let index = &self.copier.store.index;
            index.doom(copy, &bucket.row.id, task.expected.size).await?;
        }
        Ok(has_ended)
    }
}
