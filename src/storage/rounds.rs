//! What is done in every bucket again and again, in each by itself: one that is slow holds no other up.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::inventory::Inventory;
use super::store::Store;

/// Begins a round in every bucket at an interval, unless its last one goes on; never ends. A round gets its
/// number, and the index of its bucket in the inventory.
pub(super) async fn in_every_bucket<F: Future<Output = ()>>(
    store: &Store,
    every: Duration,
    round: impl Fn(u64, Arc<Inventory>, usize) -> F,
) {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut busy, mut rounds) = (HashSet::new(), FuturesUnordered::new());
    for number in 0.. {
        loop {
            tokio::select! {
                Some(bucket) = rounds.next() => { busy.remove(&bucket); }
                _ = ticks.tick() => break,
            }
        }
        let inventory = store.inventory.load_full();
        for (index, bucket) in inventory.buckets.iter().enumerate() {
            let id = bucket.row.id.clone();
            if busy.insert(id.clone()) {
                let work = round(number, Arc::clone(&inventory), index);
                rounds.push(async move {
                    work.await;
                    id
                });
            }
        }
    }
}
