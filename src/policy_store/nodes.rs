//! Which nodes are asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use crate::postgres::monitor::Monitor;
use crate::sql::Database;
use tidegate_model::{NodeCondition, NodeId, NodeStatus, RegionId, Timeline, TimelineHistory};

/// How old a node's rows may be to count as the leader's word.
const CURRENT: Duration = Duration::from_secs(10);

/// The nodes of the database, over the connections on which they are monitored.
pub(super) struct StoreNodes {
    region: RegionId,
    monitor: Arc<Monitor>,
    database: Arc<Database>,
}

impl StoreNodes {
    pub(super) fn new(region: RegionId, database: Arc<Database>) -> Self {
        Self {
            region,
            monitor: Arc::clone(&database.monitor),
            database,
        }
    }

    pub(super) fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// Returns the connection to a node, if there is one.
    pub(super) fn client(&self, status: &NodeStatus) -> Option<Arc<Client>> {
        self.monitor.client(&status.node)
    }

    /// Returns the timeline whose rows a node has, if it is known.
    pub(super) fn timeline(&self, status: &NodeStatus) -> Option<Timeline> {
        let position = status.position.as_ref()?;
        if status.acts_as_primary {
            return Some(position.timeline);
        }
        match &self.monitor.knowledge().lineage {
            Some(lineage) => lineage.reached(position),
            None => TimelineHistory::unread(position.system, position.timeline).reached(position),
        }
    }

    /// The nodes to ask, best first, and whether what they say is current.
    pub(super) fn by_preference(&self) -> Vec<(Arc<NodeStatus>, bool)> {
        let knowledge = self.monitor.knowledge();
        let now = Instant::now();
        let local = NodeId::Replica(self.region.clone());
        let mut members = self.database.members.iter().map(|it| &it.node.id);
        let local = members.find(|id| **id == local);
        let local = local.map(|id| Arc::clone(knowledge.status(id)));
        let local = local.filter(|it| it.condition != NodeCondition::Diverged);
        let primary = knowledge.primary().cloned();
        let current = |status: &NodeStatus| status.staleness(now).is_some_and(|it| it <= CURRENT);
        let mut nodes: Vec<_> = local.into_iter().chain(primary).collect();
        // A replica that is far behind is asked last.
        nodes.sort_by_key(|status| !current(status));
        nodes.dedup_by_key(|status| status.node.clone());
        let nodes = nodes.into_iter();
        nodes
            .map(|status| (Arc::clone(&status), current(&status)))
            .collect()
    }
}
