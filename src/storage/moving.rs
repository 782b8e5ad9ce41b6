//! Moves bytes between buckets: into cold mirrors, which are read back now and then, and away from buckets
//! that are drained.
//!
//! The tasks are rows, so that any gateway goes on where another one was killed. No copy is deleted before
//! another one was read back in full and its SHA-256 matched.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_telemetry::names;
use tokio::time::{Instant, sleep};

use super::inventory::Inventory;
use super::mirror::Mirror;
use super::mover::Mover;
use super::rounds::in_every_bucket;
use super::store::Store;
use super::task::{Tasks, backlog, due, mirror_more};

/// How often tasks are looked for at most.
const INTERVAL_MAX: Duration = Duration::from_secs(5);

/// Moves what is to be moved, again and again; never ends.
pub async fn move_forever(store: Arc<Store>) {
    let every = store.settings.sweep_interval.min(INTERVAL_MAX);
    let busy = ArcSwap::from_pointee(HashSet::new());
    let (store, busy) = (&*store, &busy);
    let mut shown = HashSet::new();
    let look = async {
        loop {
            match due(&store.index).await {
                Ok(found) => busy.store(Arc::new(found)),
                Err(error) => tracing::debug!(%error, "tasks of storage cannot be found"),
            }
            show_backlog(store, &mut shown).await;
            queue(store).await;
            sleep(every).await;
        }
    };
    let round = |_, mut inventory: Arc<Inventory>, mut index: usize| async move {
        let bucket = inventory.buckets[index].row.id.clone();
        sample(store, &inventory, &bucket).await;
        if !busy.load().contains(&bucket) {
            return;
        }
        // With more to do nothing is waited for, but what operators have changed meanwhile holds.
        while Mover::new(store, &inventory, index).round().await {
            inventory = store.inventory.load_full();
            let Some(now) = inventory.index_of(&bucket) else {
                return;
            };
            index = now;
            sample(store, &inventory, &bucket).await;
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

/// Makes tasks of existing objects where a mirror was added or changed, for a while.
async fn queue(store: &Store) {
    let until = Instant::now() + INTERVAL_MAX;
    let inventory = store.inventory.load_full();
    let repositories = inventory.repositories.iter();
    let changed = repositories.filter(|it| it.row.is_mirror_changed);
    let mut left: VecDeque<_> = changed.map(|it| &*it.row.id).collect();
    // A batch of each in turn, and another one first the next time: none waits for all of the others.
    left.rotate_left(fastrand::usize(..left.len().max(1)).min(left.len()));
    while let Some(repository) = left.pop_front()
        && Instant::now() < until
    {
        match mirror_more(&store.index, repository).await {
            Ok(true) => left.push_back(repository),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "existing objects cannot be mirrored yet"),
        }
    }
}

/// Shows what the mirrors are late with; those that are none any more, with nothing.
async fn show_backlog(store: &Store, shown: &mut HashSet<String>) {
    let late = match backlog(&store.index).await {
        Ok(late) => late,
        Err(error) => {
            tracing::warn!(%error, "what mirrors are late with cannot be read");
            return;
        }
    };
    let inventory = store.inventory.load();
    let mirrors = inventory.repositories.iter();
    let mirrors = mirrors.filter_map(|it| it.row.policy.mirror.as_ref());
    let mirrors: HashSet<_> = mirrors.filter_map(|it| inventory.named(&it.to)).collect();
    let mut gone = std::mem::take(shown);
    for (index, bucket) in inventory.buckets.iter().enumerate() {
        if !mirrors.contains(&index) {
            bucket.live.note_late(None);
            continue;
        }
        let late = late.get(&bucket.row.id).copied().unwrap_or_default();
        bucket.live.note_late(Some(late));
        let name = bucket.name().to_owned();
        gone.remove(&name);
        shown.insert(name.clone());
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge of so many blobs need not be exact"
        )]
        let blobs = late.blobs as f64;
        metrics::gauge!(names::STORAGE_MIRROR_BACKLOG, "bucket" => name.clone()).set(blobs);
        metrics::gauge!(names::STORAGE_MIRROR_LATE, "bucket" => name.clone()).set(late.seconds);
        // From the start, so that the first failure is an increase.
        metrics::counter!(names::STORAGE_RESTORES, "bucket" => name, "outcome" => "failed")
            .increment(0);
    }
    for name in gone {
        metrics::gauge!(names::STORAGE_MIRROR_BACKLOG, "bucket" => name.clone()).set(0.0);
        metrics::gauge!(names::STORAGE_MIRROR_LATE, "bucket" => name).set(0.0);
    }
}
