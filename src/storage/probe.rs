//! Asks buckets whether they answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::inventory::{standing, works};
use super::store::Store;

/// How often a bucket is asked that has failed, or did not answer when it was last asked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// One that works is asked so many times less often.
const PROBES_FAILED_PER_WORKING: u32 = 10;

/// Asks every bucket again and again whether it answers; never ends.
pub async fn probe_forever(store: Arc<Store>) {
    let (mut turn, mut silent) = (0, HashSet::new());
    loop {
        silent = probe(&store, turn == 0, &silent).await;
        turn = (turn + 1) % PROBES_FAILED_PER_WORKING;
        sleep(PROBE_INTERVAL).await;
    }
}

/// Asks buckets whether they answer, so that latencies are known, those that failed are used again, and
/// one that has died is soon known to have. Returns the ids of those that did not answer.
async fn probe(store: &Store, all: bool, silent: &HashSet<String>) -> HashSet<String> {
    let inventory = store.inventory.load_full();
    let selector = &inventory.selector;
    let is_due = |&index: &usize| {
        let is_closed = works(standing(&selector.ranking(Instant::now()), index).0);
        let is_doubted = silent.contains(&inventory.buckets[index].row.id);
        is_closed && (all || is_doubted) || selector.claim_probe(index, Instant::now())
    };
    let due = (0..inventory.buckets.len()).filter(is_due);
    let probes = due.map(|index| {
        let inventory = &inventory;
        async move {
            let started = Instant::now();
            let bucket = &inventory.buckets[index];
            let probed = bucket.backend().probe().await;
            let took = started.elapsed();
            let (fault, latency) = match probed {
                Ok(()) => (None, Some(took)),
                Err(fault) => (Some(fault), None),
            };
            inventory.report(index, fault.as_ref(), latency);
            fault.map(|_| bucket.row.id.clone())
        }
    });
    let silent = futures_util::future::join_all(probes).await;
    silent.into_iter().flatten().collect()
}
