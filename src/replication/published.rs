//! Where statuses are published: read by every request, written a few times a second.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::consistency::TimelineHistory;
use crate::region::NodeId;
use crate::replication::observations::Observations;
use crate::replication::{Condition, MonitorSettings, NodeStatus};
use crate::telemetry::names;

/// What the tasks know together, and what they publish of it.
pub(super) struct Published {
    observations: Mutex<Observations>,
    nodes: Vec<PublishedNode>,
    lineage: ArcSwapOption<TimelineHistory>,
    /// What heartbeats are counted from.
    started: Instant,
}

struct PublishedNode {
    status: ArcSwap<NodeStatus>,
    watch: watch::Sender<Arc<NodeStatus>>,
    /// Whether an attempt to sample it has ended, well or not.
    attempted: AtomicBool,
    /// Milliseconds since `started`.
    heartbeat: AtomicU64,
    /// Requests that wait for this node to get on.
    waiters: AtomicUsize,
    /// Tells the node's task that the first of them has come.
    hurry: Notify,
}

/// Someone who waits for a node; dropping it is leaving.
pub(super) struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Published {
    pub(super) fn new(nodes: &[NodeId], settings: &MonitorSettings) -> Self {
        let unknown = |node: &NodeId| {
            let status = Arc::new(NodeStatus::unknown(node.clone()));
            PublishedNode {
                status: ArcSwap::new(Arc::clone(&status)),
                watch: watch::Sender::new(status),
                attempted: AtomicBool::new(false),
                heartbeat: AtomicU64::new(0),
                waiters: AtomicUsize::new(0),
                hurry: Notify::new(),
            }
        };
        Self {
            observations: Mutex::new(Observations::new(nodes.iter().cloned(), settings)),
            nodes: nodes.iter().map(unknown).collect(),
            lineage: ArcSwapOption::empty(),
            started: Instant::now(),
        }
    }

    pub(super) fn status(&self, index: usize) -> Arc<NodeStatus> {
        self.nodes[index].status.load_full()
    }

    /// Returns the history of the primary's timeline; none before its first sample.
    pub(super) fn lineage(&self) -> Option<Arc<TimelineHistory>> {
        self.lineage.load_full()
    }

    pub(super) fn watch(&self, index: usize) -> watch::Receiver<Arc<NodeStatus>> {
        self.nodes[index].watch.subscribe()
    }

    /// Counts a waiter for a node in, until it is dropped.
    pub(super) fn wait(&self, index: usize) -> Waiter<'_> {
        let node = &self.nodes[index];
        if node.waiters.fetch_add(1, Ordering::AcqRel) == 0 {
            node.hurry.notify_one();
        }
        Waiter(&node.waiters)
    }

    /// Returns once somebody waits for a node.
    pub(super) async fn awaited(&self, index: usize) {
        let node = &self.nodes[index];
        while node.waiters.load(Ordering::Acquire) == 0 {
            node.hurry.notified().await;
        }
    }

    pub(super) fn all_attempted(&self) -> bool {
        let attempted = |node: &PublishedNode| node.attempted.load(Ordering::Acquire);
        self.nodes.iter().all(attempted)
    }

    /// Notes that a node's task is running.
    pub(super) fn beat(&self, index: usize) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.nodes[index]
            .heartbeat
            .store(elapsed, Ordering::Relaxed);
    }

    /// Returns the time since the oldest of the tasks' last heartbeats.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        let heartbeat = |node: &PublishedNode| node.heartbeat.load(Ordering::Relaxed);
        let oldest = self.nodes.iter().map(heartbeat).min().unwrap_or(u64::MAX);
        let since_start = now.saturating_duration_since(self.started);
        since_start.saturating_sub(Duration::from_millis(oldest))
    }

    /// Changes what is known because of one node, and publishes what follows for every node.
    ///
    /// `reason` is logged if the change moves that node's condition.
    pub(super) fn update(
        &self,
        index: usize,
        reason: &str,
        change: impl FnOnce(&mut Observations),
    ) {
        // A panic while the lock is held leaves a sample out at worst.
        let mut observations = self
            .observations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut observations);
        let now = Instant::now();
        self.lineage.store(observations.lineage());
        for (other, node) in self.nodes.iter().enumerate() {
            let reason = if other == index { reason } else { "" };
            node.publish(observations.status(other), reason, now);
        }
    }

    pub(super) fn note_attempt(&self, index: usize) {
        self.nodes[index].attempted.store(true, Ordering::Release);
    }
}

impl PublishedNode {
    fn publish(&self, status: NodeStatus, reason: &str, now: Instant) {
        let before = self.status.load().condition;
        log_change(before, &status, reason);
        measure(&status, now);
        let status = Arc::new(status);
        self.status.store(Arc::clone(&status));
        self.watch.send_replace(status);
    }
}

fn log_change(before: Condition, status: &NodeStatus, reason: &str) {
    let (node, condition) = (status.node.as_str(), status.condition.as_str());
    if before == status.condition {
        return;
    }
    if status.condition == Condition::Fresh {
        tracing::info!(node, condition, %before, "node is in order");
    } else {
        tracing::warn!(node, condition, %before, reason, "node is not in order");
    }
}

/// Unknown is NaN: a number would be read as one.
fn measure(status: &NodeStatus, now: Instant) {
    let seconds = |duration: Option<Duration>| duration.map_or(f64::NAN, |d| d.as_secs_f64());
    let node = status.node.as_str();
    metrics::gauge!(names::REPLICATION_LAG, "node" => node.to_owned()).set(seconds(status.lag));
    metrics::gauge!(names::STALENESS, "node" => node.to_owned())
        .set(seconds(status.staleness(now)));
    for condition in Condition::ALL {
        let holds = f64::from(u8::from(condition == status.condition));
        metrics::gauge!(
            names::NODE_CONDITION,
            "node" => node.to_owned(),
            "condition" => condition.as_str()
        )
        .set(holds);
    }
}
