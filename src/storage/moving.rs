//! Moves bytes between buckets: into cold mirrors, which are read back now and then, and away from buckets
//! that are drained.
//!
//! The tasks are rows, so that any gateway goes on where another one was killed. No copy is deleted before
//! another one was read back in full and its SHA-256 matched.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tidegate_telemetry::names;
use tokio::time::{Instant, sleep};

use super::StorageError;
use super::fault::{Fault, FaultKind, Left};
use super::index::StoredCopy;
use super::inventory::{Inventory, Repository, standing, works};
use super::lease::Leases;
use super::mirror::Mirror;
use super::object_name::ObjectName;
use super::registry::new_id;
use super::rounds::in_every_bucket;
use super::sending::Sending;
use super::store::Store;
use super::task::{Task, TaskKind, Tasks, backlog, due};
use super::transfer::TransferError;

/// How often tasks are looked for at most.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// Blobs of one bucket that one gateway moves at the same time.
const WORKERS: usize = 8;
/// How long one round goes on; the next one knows what operators have changed meanwhile.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Copies of a bucket that is drained that become tasks at once.
const DRAIN_BATCH: i32 = 1000;

/// Why a task is not done yet; what an operator reads of it.
#[derive(Debug, thiserror::Error)]
enum Undone {
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
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Moves what is to be moved, again and again; never ends.
pub async fn move_forever(store: Arc<Store>) {
    let every = store.settings.sweep_interval.min(INTERVAL_MAX);
    let busy = ArcSwap::from_pointee(HashSet::new());
    let (store, busy) = (&*store, &busy);
    let look = async {
        loop {
            match due(&store.index).await {
                Ok(found) => busy.store(Arc::new(found)),
                Err(error) => tracing::debug!(%error, "tasks of storage cannot be found"),
            }
            show_backlog(store).await;
            sleep(every).await;
        }
    };
    let round = |_, inventory: Arc<Inventory>, index: usize| async move {
        let bucket = &inventory.buckets[index].row.id;
        sample(store, &inventory, bucket).await;
        if busy.load().contains(bucket) {
            let mover = Mover {
                store,
                inventory: &inventory,
                at: index,
                until: Instant::now() + ROUND_MAX,
                done: AtomicUsize::default(),
            };
            mover.round().await;
        }
    };
    tokio::join!(in_every_bucket(store, every, round), look);
}

/// Begins to read copies of a mirror back, if it is time.
async fn sample(store: &Store, inventory: &Inventory, bucket: &str) {
    let tasks = Tasks {
        index: &store.index,
        bucket,
    };
    for repository in &inventory.repositories {
        let row = &repository.row;
        let mirror = row.policy.mirror.as_ref();
        let is_here = |mirror: &&Mirror| {
            let named = inventory.named(&mirror.to);
            named.is_some_and(|at| inventory.buckets[at].row.id == bucket)
        };
        let Some(mirror) = mirror.filter(is_here) else {
            continue;
        };
        if row.restores_due
            && let Err(error) = tasks.sample(&row.id, mirror).await
        {
            tracing::debug!(%error, "a sample of a mirror cannot be chosen");
        }
    }
}

async fn show_backlog(store: &Store) {
    let Ok(late) = backlog(&store.index).await else {
        return;
    };
    let inventory = store.inventory.load();
    let mirrors = inventory.repositories.iter();
    let mirrors = mirrors.filter_map(|it| it.row.policy.mirror.as_ref());
    for bucket in mirrors.filter_map(|it| inventory.named(&it.to)) {
        let bucket = &inventory.buckets[bucket];
        let late = late.iter().find(|it| it.bucket == bucket.row.id);
        let name = bucket.name().to_owned();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge of so many blobs need not be exact"
        )]
        let blobs = late.map_or(0.0, |it| it.blobs as f64);
        metrics::gauge!(names::STORAGE_MIRROR_BACKLOG, "bucket" => name.clone()).set(blobs);
        let late = late.map_or(0.0, |it| it.late);
        metrics::gauge!(names::STORAGE_MIRROR_LATE, "bucket" => name).set(late);
    }
}

/// One round at one bucket.
struct Mover<'a> {
    store: &'a Store,
    inventory: &'a Inventory,
    /// The index of the bucket.
    at: usize,
    until: Instant,
    done: AtomicUsize,
}

impl Mover<'_> {
    /// Works until nothing is due, or the bucket fails.
    async fn round(&self) {
        let bucket = &self.inventory.buckets[self.at];
        loop {
            if bucket.row.draining
                && let Err(error) = self.tasks().drain(DRAIN_BATCH).await
            {
                tracing::warn!(bucket = bucket.name(), %error, "a bucket cannot be drained");
                return;
            }
            let before = self.done.load(Ordering::Relaxed);
            join_all((0..WORKERS).map(|_| self.work())).await;
            let now = self.done.load(Ordering::Relaxed);
            if now == before || !bucket.row.draining || Instant::now() > self.until {
                return;
            }
        }
    }

    fn tasks(&self) -> Tasks<'_> {
        Tasks {
            index: &self.store.index,
            bucket: &self.inventory.buckets[self.at].row.id,
        }
    }

    async fn work(&self) {
        while Instant::now() < self.until {
            let claim = new_id();
            let task = match self.tasks().claim(&claim).await {
                Ok(Some(task)) => task,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "tasks of storage cannot be claimed");
                    return;
                }
            };
            let leases = Leases::default();
            leases.add(&claim);
            let done = self.perform(&task, &leases);
            match leases.hold(&self.store.index, done).await {
                Ok(()) => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(undone) => {
                    if !self.put_off(&task, &undone).await {
                        return;
                    }
                }
            }
        }
    }

    /// Notes why a task is not done. False if the bucket itself has failed.
    async fn put_off(&self, task: &Task, undone: &Undone) -> bool {
        let (kind, name) = (
            task.kind.as_str(),
            self.inventory.buckets[self.at].name().to_owned(),
        );
        // Once is no reason to look: buckets fail now and then.
        if task.failures > 2 {
            tracing::error!(bucket = name, kind, key = task.key, error = %undone, "bytes cannot be moved");
        }
        if let Err(error) = self.tasks().fail(task, &undone.to_string()).await {
            tracing::warn!(%error, "a task of storage could not be put off");
        }
        if task.kind == TaskKind::Restore {
            count_restore(&name, "unanswered");
        }
        !matches!(undone, Undone::Bucket(of, _) | Undone::Full(of) if *of == name)
    }

    async fn perform(&self, task: &Task, leases: &Leases) -> Result<(), Undone> {
        match task.kind {
            TaskKind::Mirror => self.mirror(task, leases).await,
            TaskKind::Restore => self.restore(task).await,
            TaskKind::Drain => self.drain(task, leases).await,
        }
    }

    /// Copies a blob into the mirror, and reads it back.
    async fn mirror(&self, task: &Task, leases: &Leases) -> Result<(), Undone> {
        let bucket = &self.inventory.buckets[self.at];
        let repository = self.repository(task);
        let mirror = repository.and_then(|it| it.row.policy.mirror.as_ref());
        // Not known yet: the hot copies stay.
        let keep_hot = mirror.is_none_or(|mirror| mirror.keep_hot || mirror.to != bucket.name());
        let mut copies = task.copies.iter();
        let there = copies.find(|copy| copy.bucket == bucket.row.id);
        let (copy, sha256) = match there {
            // It is repaired first.
            Some(copy) if copy.is_suspect => {
                return Err(Undone::Damaged(bucket.name().to_owned()));
            }
            Some(copy) => (copy.id.clone(), self.read_back(task, self.at, copy).await?),
            None => self.copy_to(task, self.at, leases).await?,
        };
        self.end(task, self.at, &copy, &sha256, keep_hot).await?;
        count_restore(bucket.name(), "restored");
        Ok(())
    }

    /// Reads a copy of the mirror back.
    async fn restore(&self, task: &Task) -> Result<(), Undone> {
        let bucket = &self.inventory.buckets[self.at];
        let Some(copy) = task.good().find(|copy| copy.bucket == bucket.row.id) else {
            // Suspect already, or gone.
            return Ok(self.tasks().end(task, "", "", true).await.map(drop)?);
        };
        match self.read_back(task, self.at, copy).await {
            Ok(sha256) => {
                self.tasks().end(task, &copy.id, &sha256, true).await?;
                count_restore(bucket.name(), "restored");
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
            let sha256 = self.read_back(task, at, copy).await?;
            return self.end(task, at, &copy.id, &sha256, true).await;
        }
        let placement = self
            .inventory
            .place(repository, &task.key, task.expected.size);
        let mut failed = Undone::NoMember;
        for to in placement.order {
            let id = &self.inventory.buckets[to].row.id;
            if to == self.at || task.copies.iter().any(|copy| copy.bucket == *id) {
                continue;
            }
            match self.copy_to(task, to, leases).await {
                Ok((copy, sha256)) => return self.end(task, to, &copy, &sha256, true).await,
                Err(undone @ (Undone::Bucket(..) | Undone::Full(_) | Undone::Damaged(_))) => {
                    failed = undone;
                }
                Err(undone) => return Err(undone),
            }
        }
        Err(failed)
    }

    fn repository(&self, task: &Task) -> Option<&Repository> {
        let mut all = self.inventory.repositories.iter();
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
            let row = &self.inventory.buckets[index].row;
            let mut copies = task.good().filter(|_| !row.draining);
            copies
                .find(|copy| copy.bucket == row.id)
                .map(|copy| (index, copy))
        };
        let policy = &repository.row.policy;
        let mirror = policy.mirror.as_ref().filter(|mirror| !mirror.keep_hot);
        let mirrored = mirror.and_then(|mirror| at(self.inventory.named(&mirror.to)?));
        let members = repository.members.iter();
        let mut members = members.filter_map(|&index| at(index));
        let first = members.next();
        let count = usize::from(first.is_some()) + members.count();
        mirrored.or(first.filter(|_| count >= policy.for_key(&task.key).0.copies()))
    }

    /// Ends a task; bytes that are not needed any more are deleted.
    async fn end(
        &self,
        task: &Task,
        at: usize,
        copy: &str,
        sha256: &str,
        keep_hot: bool,
    ) -> Result<(), Undone> {
        if !self.tasks().end(task, copy, sha256, keep_hot).await?
            && !task.copies.iter().any(|it| it.id == copy)
        {
            let bucket = &self.inventory.buckets[at];
            let index = &self.store.index;
            index.doom(copy, &bucket.row.id, task.expected.size).await?;
        }
        Ok(())
    }

    /// Writes a blob into a bucket and reads it back in full. Returns the new copy, which nothing refers to
    /// yet, and the SHA-256.
    async fn copy_to(
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
            let mut sending = Sending::new(to, bucket.backend(), copy.clone());
            let sent = task
                .expected
                .transfer(self.store, backend, source.object(), &mut sending);
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
                let undone = Undone::Damaged(bucket.name().to_owned());
                count_restore(bucket.name(), "failed");
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
    async fn read_back(&self, task: &Task, at: usize, copy: &StoredCopy) -> Result<String, Undone> {
        let bucket = &self.inventory.buckets[at];
        match task.expected.read(bucket.backend(), copy.object()).await {
            Ok(Some(sha256)) => Ok(sha256),
            Ok(None) => {
                let undone = Undone::Damaged(bucket.name().to_owned());
                count_restore(bucket.name(), "failed");
                tracing::error!(
                    bucket = bucket.name(),
                    key = task.key,
                    copy = copy.id,
                    "a copy cannot be restored"
                );
                let tasks = Tasks {
                    index: &self.store.index,
                    bucket: &bucket.row.id,
                };
                let error = undone.to_string();
                tasks.restore_failed(task, &copy.id, &error).await?;
                Err(undone)
            }
            Err(fault) => {
                self.inventory.report(at, Some(&fault), None);
                Err(Undone::Bucket(bucket.name().to_owned(), fault))
            }
        }
    }
}

fn count_restore(bucket: &str, outcome: &'static str) {
    metrics::counter!(names::STORAGE_RESTORES, "bucket" => bucket.to_owned(), "outcome" => outcome)
        .increment(1);
}
