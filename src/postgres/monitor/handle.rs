//! The tasks that monitor the nodes, and what they publish.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::Client;
use tracing::Instrument;

use crate::postgres::Server;
use crate::postgres::monitor::fresh_look::CONNECT_DEADLINE;
use crate::postgres::monitor::published::Published;
use crate::postgres::monitor::task::NodeTask;
use crate::postgres::monitor::{Knowledge, MonitorSettings};
use tidegate_model::NodeId;
use tidegate_model::NodeStatus;

/// Monitors every node in its own task. Dropping it ends the tasks.
pub struct Monitor {
    nodes: Vec<NodeId>,
    published: Arc<Published>,
    tasks: Vec<JoinHandle<()>>,
    silence_max: Duration,
}

impl Monitor {
    /// Starts one task per node. Must be called within a tokio runtime.
    pub fn start(nodes: Vec<(NodeId, Arc<Server>)>, settings: MonitorSettings) -> Self {
        let (nodes, servers): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        let published = Arc::new(Published::new(&nodes, &settings));
        let settings = Arc::new(settings);
        let start = |(index, server)| {
            let task = NodeTask {
                index,
                server,
                published: Arc::clone(&published),
                settings: Arc::clone(&settings),
            };
            let span = tracing::info_span!("monitor", node = nodes[index].as_str());
            tokio::spawn(async { match task.run().await {} }.instrument(span))
        };
        let tasks = servers.into_iter().enumerate().map(start).collect();
        // A heartbeat is sent with every step, and no step other than these takes longer than a
        // second.
        let silence_max =
            2 * CONNECT_DEADLINE + 2 * settings.sample_timeout + 2 * settings.sample_interval;
        Self {
            nodes,
            published,
            tasks,
            silence_max,
        }
    }

    /// Returns what is known about a node, without waiting.
    ///
    /// # Panics
    /// If the node is not one of those given to [`Monitor::start`].
    pub fn status(&self, node: &NodeId) -> Arc<NodeStatus> {
        Arc::clone(self.published.known_now().status(node))
    }

    /// Reads what is known about a node. Requests do so several times each, and all of them would count the same
    /// references.
    ///
    /// # Panics
    /// See [`Monitor::status`].
    pub fn read<T>(&self, node: &NodeId, read: impl FnOnce(&NodeStatus) -> T) -> T {
        read(self.published.known_now().status(node))
    }

    /// Returns what is known about all nodes, without waiting.
    pub fn knowledge(&self) -> Arc<Knowledge> {
        self.published.knowledge()
    }

    /// Records that a node may no longer be the monitored server, or may have changed its role: its
    /// task samples it at once and re-resolves its name.
    ///
    /// # Panics
    /// See [`Monitor::status`].
    pub fn doubt(&self, node: &NodeId) {
        self.published.doubt(self.index(node));
    }

    /// Takes what the server said if it has refused the monitor a connection since, because it, the
    /// database or the role has as many as it may.
    ///
    /// # Panics
    /// As [`Monitor::status`].
    pub fn take_refusal(&self, node: &NodeId) -> Option<String> {
        self.published.refusal(self.index(node)).take()
    }

    /// Returns the connection over which a node is sampled, if there is one: for a few small statements a
    /// second that must not depend on the load of the pools.
    ///
    /// # Panics
    /// As [`Monitor::status`].
    pub fn client(&self, node: &NodeId) -> Option<Arc<Client>> {
        self.published.client(self.index(node))
    }

    /// Doubts every node, because a promotion was reported.
    pub fn doubt_all(&self) {
        (0..self.nodes.len()).for_each(|index| self.published.doubt(index));
    }

    /// Returns a receiver of every status published from now on.
    ///
    /// # Panics
    /// See [`Monitor::status`].
    pub fn watch(&self, node: &NodeId) -> watch::Receiver<Arc<NodeStatus>> {
        self.published.watch(self.index(node))
    }

    /// Waits until a node's status satisfies a predicate; meanwhile the node is sampled faster, by
    /// the same task. Cancel-safe.
    ///
    /// # Panics
    /// See [`Monitor::status`].
    pub async fn wait_for(&self, node: &NodeId, mut test: impl FnMut(&NodeStatus) -> bool) {
        let index = self.index(node);
        let mut watch = self.published.watch(index);
        let _waiter = self.published.wait(index);
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = watch.wait_for(|status| test(status)).await;
    }

    /// Returns whether sampling every node was attempted at least once, successfully or not.
    pub fn first_round_done(&self) -> bool {
        self.published.all_attempted()
    }

    /// Returns whether every task still runs and none has stalled.
    pub fn alive(&self, now: Instant) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
            && self.published.silence(now) <= self.silence_max
    }

    fn index(&self, node: &NodeId) -> usize {
        let index = self.nodes.iter().position(|known| known == node);
        index.expect("only nodes that the monitor was started with are queried")
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
