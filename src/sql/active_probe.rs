//! Active probes after slow answers: is it the statement that is slow, or is the node gone?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::postgres::monitor::Monitor;
use crate::postgres::pool::Node;
use tidegate_steering::{AttemptOutcome, BreakerState, SharedSelector};
use tidegate_telemetry::survive;

/// How long a probed node may take to answer its monitor, which immediately sends a trivial query.
/// A garbage collection, a checkpoint or a busy core is over by then; a few of these in a row open
/// the breaker.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
/// For a distant node: this many of its round trips.
const ROUND_TRIPS: u32 = 4;

/// Probes nodes, each by one task at a time.
pub(super) struct ActiveProbes {
    nodes: Vec<Arc<ProbedNode>>,
}

struct ProbedNode {
    node: Arc<Node>,
    candidate: usize,
    monitor: Arc<Monitor>,
    selector: Arc<SharedSelector>,
    is_probed: AtomicBool,
}

impl ActiveProbes {
    /// Probes no node yet.
    pub(super) fn new(
        nodes: &[Arc<Node>],
        monitor: &Arc<Monitor>,
        selector: &Arc<SharedSelector>,
    ) -> Self {
        let probed = |(candidate, node): (usize, &Arc<Node>)| {
            Arc::new(ProbedNode {
                node: Arc::clone(node),
                candidate,
                monitor: Arc::clone(monitor),
                selector: Arc::clone(selector),
                is_probed: AtomicBool::new(false),
            })
        };
        Self {
            nodes: nodes.iter().enumerate().map(probed).collect(),
        }
    }

    /// Starts to probe a node, unless it is already being probed.
    pub(super) fn probe(&self, candidate: usize) {
        let node = &self.nodes[candidate];
        if !node.is_probed.swap(true, Ordering::AcqRel) {
            let node = Arc::clone(node);
            tokio::spawn(async move {
                // After a panic as after the end: the next slow answer begins another one.
                survive("active probe", node.probe()).await;
                node.is_probed.store(false, Ordering::Release);
            });
        }
    }
}

impl ProbedNode {
    /// Ends when the node answers its monitor, or when its breaker is no longer closed.
    async fn probe(&self) {
        loop {
            let asked = Some(Instant::now());
            let round_trip = self.monitor.status(&self.node.id).round_trip;
            let patience = PATIENCE_MIN.max(round_trip.unwrap_or_default() * ROUND_TRIPS);
            let answers = self
                .monitor
                .wait_for(&self.node.id, |status| status.sampled_at > asked);
            if timeout(patience, answers).await.is_ok() {
                return;
            }
            let now = Instant::now();
            let failed = AttemptOutcome::Failed;
            self.selector.report(self.candidate, failed, None, now);
            let ranking = self.selector.ranking(now);
            if ranking.of(self.candidate).breaker != BreakerState::Closed {
                return;
            }
        }
    }
}
