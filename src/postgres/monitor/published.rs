//! The published statuses: read by every request, written a few times a second.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::postgres::monitor::announce::{log_condition, log_roles, measure};
use crate::postgres::monitor::observations::Observations;
use crate::postgres::monitor::{Knowledge, MonitorSettings};
use tidegate_model::NodeId;
use tidegate_model::NodeStatus;

/// What the tasks know together, and what they publish from it.
pub(super) struct Published {
    observations: Mutex<Observations>,
    knowledge: ArcSwap<Knowledge>,
    nodes: Vec<PublishedNode>,
    /// The start from which heartbeats are counted.
    started: Instant,
}

struct PublishedNode {
    watch: watch::Sender<Arc<NodeStatus>>,
    /// Whether an attempt to sample it has ended, successfully or not.
    attempted: AtomicBool,
    /// Milliseconds since `started`.
    heartbeat: AtomicU64,
    /// Requests that wait for this node to make progress.
    waiters: AtomicUsize,
    /// Notifies the node's task that the first of them has arrived.
    hurry: Notify,
    /// Notifies the node's task that its connection may not lead to the server that the name leads
    /// to.
    doubt: Notify,
    /// What the server said when it refused the task's connection for want of room.
    refusal: Mutex<Option<String>>,
    /// The task's connection, while it samples.
    client: ArcSwapOption<Client>,
}

/// A waiter for a node; dropping it ends the wait.
pub(super) struct Waiter<'a>(&'a AtomicUsize);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Published {
    pub(super) fn new(nodes: &[NodeId], settings: &MonitorSettings) -> Self {
        let knowledge = Knowledge::nothing(nodes);
        let published = |status: &Arc<NodeStatus>| PublishedNode {
            watch: watch::Sender::new(Arc::clone(status)),
            attempted: AtomicBool::new(false),
            heartbeat: AtomicU64::new(0),
            waiters: AtomicUsize::new(0),
            hurry: Notify::new(),
            doubt: Notify::new(),
            refusal: Mutex::default(),
            client: ArcSwapOption::empty(),
        };
        Self {
            observations: Mutex::new(Observations::new(nodes.iter().cloned(), settings)),
            nodes: knowledge.nodes.iter().map(published).collect(),
            knowledge: ArcSwap::from_pointee(knowledge),
            started: Instant::now(),
        }
    }

    pub(super) fn knowledge(&self) -> Arc<Knowledge> {
        self.knowledge.load_full()
    }

    /// The same for short use, without counting a reference.
    pub(super) fn known_now(&self) -> Guard<Arc<Knowledge>> {
        self.knowledge.load()
    }

    pub(super) fn watch(&self, index: usize) -> watch::Receiver<Arc<NodeStatus>> {
        self.nodes[index].watch.subscribe()
    }

    /// Counts a waiter for a node until it is dropped.
    pub(super) fn wait(&self, index: usize) -> Waiter<'_> {
        let node = &self.nodes[index];
        if node.waiters.fetch_add(1, Ordering::AcqRel) == 0 {
            node.hurry.notify_one();
        }
        Waiter(&node.waiters)
    }

    /// Returns once a request waits for a node.
    pub(super) async fn awaited(&self, index: usize) {
        let node = &self.nodes[index];
        while node.waiters.load(Ordering::Acquire) == 0 {
            node.hurry.notified().await;
        }
    }

    /// Lends a task's connection, or takes it back.
    pub(super) fn lend(&self, index: usize, client: Option<Arc<Client>>) {
        self.nodes[index].client.store(client);
    }

    /// Returns the connection that a node's task samples over.
    pub(super) fn client(&self, index: usize) -> Option<Arc<Client>> {
        self.nodes[index].client.load_full()
    }

    /// Makes a node's task re-resolve its name.
    pub(super) fn doubt(&self, index: usize) {
        self.nodes[index].doubt.notify_one();
    }

    /// Returns once there is doubt whether a node is still the monitored server. Cancel-safe.
    pub(super) async fn doubted(&self, index: usize) {
        self.nodes[index].doubt.notified().await;
    }

    /// What the server said when it refused a connection for want of room; set, or taken.
    pub(super) fn refusal(&self, index: usize) -> MutexGuard<'_, Option<String>> {
        let refusal = self.nodes[index].refusal.lock();
        refusal.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all_attempted(&self) -> bool {
        let attempted = |node: &PublishedNode| node.attempted.load(Ordering::Acquire);
        self.nodes.iter().all(attempted)
    }

    /// Records that a node's task is running.
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

    /// Updates the knowledge about one node, and publishes what follows for every node.
    ///
    /// `reason` is logged if the change moves that node's condition.
    pub(super) fn update(
        &self,
        index: usize,
        reason: &str,
        change: impl FnOnce(&mut Observations),
    ) {
        // At worst, a panic while the lock is held loses a sample.
        let mut observations = self
            .observations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut observations);
        let now = Instant::now();
        let statuses = (0..self.nodes.len()).map(|node| Arc::new(observations.status(node)));
        let after = Arc::new(Knowledge {
            timeline: observations.highest(),
            lineage: observations.lineage(),
            nodes: statuses.collect(),
            acting: observations.acting(),
        });
        let before = self.knowledge.swap(Arc::clone(&after));
        log_roles(&before, &after);
        for (other, status) in after.nodes.iter().enumerate() {
            let reason = match other == index && !reason.is_empty() {
                true => reason,
                false => observations.reason(other),
            };
            log_condition(before.nodes[other].condition, status, reason);
            measure(status, now);
            self.nodes[other].watch.send_replace(Arc::clone(status));
        }
    }

    pub(super) fn note_attempt(&self, index: usize) {
        self.nodes[index].attempted.store(true, Ordering::Release);
    }
}
