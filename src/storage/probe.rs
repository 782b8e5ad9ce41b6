//! Asks buckets whether they answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::inventory::Inventory;
use super::live::{standing, works};
use super::rounds::in_every_bucket;
use super::store::Store;

/// How often a bucket is asked that has failed, or did not answer when it was last asked.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// One that works is asked so many times less often.
const PROBES_FAILED_PER_WORKING: u64 = 10;

/// Asks every bucket again and again whether it answers, so that latencies are known, those that failed are
/// used again, and one that has died is soon known to have; never ends.
pub async fn probe_forever(store: Arc<Store>) {
    let round = async |round, inventory: Arc<Inventory>, index| {
        probe(&inventory, index, round % PROBES_FAILED_PER_WORKING == 0).await;
    };
    in_every_bucket(&store, PROBE_INTERVAL, round).await;
}

async fn probe(inventory: &Inventory, index: usize, is_turn_of_working: bool) {
    let (selector, bucket) = (&inventory.selector, &inventory.buckets[index]);
    let is_closed = works(standing(&selector.ranking(Instant::now()), index).0);
    let is_doubted = bucket.live.silent_probes.load(Ordering::Relaxed) > 0;
    if !(is_closed && (is_turn_of_working || is_doubted)
        || selector.claim_probe(index, Instant::now()))
    {
        return;
    }
    let started = Instant::now();
    let probed = bucket.backend().probe().await;
    let latency = probed.is_ok().then(|| started.elapsed());
    inventory.report(index, probed.as_ref().err(), latency);
    let silent = &bucket.live.silent_probes;
    // An error of the bucket's own is an answer. One task probes a bucket.
    let count = match probed.is_err_and(|fault| fault.kind.is_silence()) {
        true => silent.load(Ordering::Relaxed).saturating_add(1),
        false => 0,
    };
    silent.store(count, Ordering::Relaxed);
}
