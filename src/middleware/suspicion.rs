//! A closer look at a node that is slow to answer: is it the statement, or is the node gone?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::postgres::monitor::Monitor;
use crate::postgres::pool::Node;
use tidegate_steering::{BreakerState, Outcome, SharedSelector};

/// How long a suspected node may take to answer its monitor, which asks a trivial question at once.
/// A garbage collector, a checkpoint or a busy core is over by then; a few of these in a row open
/// the breaker.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
/// For a node that is far: so many of its round trips.
const ROUND_TRIPS: u32 = 4;

/// Looks at suspected nodes, each by one task at a time.
pub struct Suspicion {
    nodes: Vec<Arc<Suspect>>,
}

struct Suspect {
    node: Arc<Node>,
    candidate: usize,
    monitor: Arc<Monitor>,
    selector: Arc<SharedSelector>,
    watched: AtomicBool,
}

impl Suspicion {
    /// Suspects nobody yet.
    pub fn new(
        nodes: &[Arc<Node>],
        monitor: &Arc<Monitor>,
        selector: &Arc<SharedSelector>,
    ) -> Self {
        let suspect = |(candidate, node): (usize, &Arc<Node>)| {
            Arc::new(Suspect {
                node: Arc::clone(node),
                candidate,
                monitor: Arc::clone(monitor),
                selector: Arc::clone(selector),
                watched: AtomicBool::new(false),
            })
        };
        Self {
            nodes: nodes.iter().enumerate().map(suspect).collect(),
        }
    }

    /// Begins to look at a node, unless somebody does already.
    pub(super) fn suspect(&self, candidate: usize) {
        let suspect = &self.nodes[candidate];
        if !suspect.watched.swap(true, Ordering::AcqRel) {
            let suspect = Arc::clone(suspect);
            tokio::spawn(async move {
                suspect.look().await;
                suspect.watched.store(false, Ordering::Release);
            });
        }
    }
}

impl Suspect {
    /// Ends when the node answers its monitor, or is known not to.
    async fn look(&self) {
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
            let failed = Outcome::Failed;
            self.selector.report(self.candidate, failed, None, now);
            let ranking = self.selector.ranking(now);
            if ranking.of(self.candidate).breaker != BreakerState::Closed {
                return;
            }
        }
    }
}
