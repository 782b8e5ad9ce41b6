//! The monitor's samples as reports to a selector: every sample is an active check.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use tidegate_model::{NodeCondition, NodeStatus};
use tidegate_steering::{AttemptOutcome, SharedSelector};

/// Reports the samples of one node until its monitor ends.
pub async fn steer(
    mut watch: watch::Receiver<Arc<NodeStatus>>,
    selector: Arc<SharedSelector>,
    candidate: usize,
) {
    let mut before = Arc::new(NodeStatus::unknown(watch.borrow().node.clone()));
    loop {
        let status = watch.borrow_and_update().clone();
        report(&before, &status, &selector, candidate, Instant::now());
        before = status;
        if watch.changed().await.is_err() {
            return;
        }
    }
}

fn report(
    before: &NodeStatus,
    status: &NodeStatus,
    selector: &SharedSelector,
    candidate: usize,
    now: Instant,
) {
    if status.sampled_at.is_some() && status.sampled_at != before.sampled_at {
        selector.claim_probe(candidate, now);
        selector.report(candidate, AttemptOutcome::Answered, status.round_trip, now);
    }
    if status.missed && !before.missed {
        selector.claim_probe(candidate, now);
        selector.report(candidate, AttemptOutcome::Failed, None, now);
    }
    let is_gone = |status: &NodeStatus| status.condition == NodeCondition::Unreachable;
    if is_gone(status) && !is_gone(before) {
        selector.lose(candidate, now);
    }
}
