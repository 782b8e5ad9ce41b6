//! Which nodes are asked, and whose rows they have.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use crate::postgres::monitor::Monitor;
use crate::sql::Database;
use tidegate_model::{NodeCondition, NodeId, NodeStatus, RegionId, Timeline, TimelineHistory};

/// How old a node's rows may be to count as the leader's word.
const CURRENT: Duration = Duration::from_secs(10);

/// A node to ask.
pub(super) struct StoreNode {
    pub(super) status: Arc<NodeStatus>,
    /// The timeline whose rows it has, if that is known.
    pub(super) timeline: Option<Timeline>,
    /// Whether what it says is current.
    pub(super) is_current: bool,
}

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

    /// Returns the connection to a node, if there is one to the server that its status speaks of.
    pub(super) fn client(&self, status: &NodeStatus) -> Option<Arc<Client>> {
        let client = self.monitor.client(&status.node)?;
        // While another node was asked, its name may have come to lead to another server, of another timeline or
        // database. What is known of a server is forgotten before the connection to the next one is lent.
        let is_same = self.monitor.status(&status.node).identity == status.identity;
        is_same.then_some(client)
    }

    /// The nodes to ask, best first.
    pub(super) fn by_preference(&self) -> Vec<StoreNode> {
        let knowledge = self.monitor.knowledge();
        let local = NodeId::Replica(self.region.clone());
        let mut members = self.database.members.iter().map(|it| &it.node.id);
        let local = members.find(|id| **id == local);
        let local = local.map(|id| Arc::clone(knowledge.status(id)));
        let primary = knowledge.primary().cloned();
        let history = (knowledge.timeline, knowledge.lineage.as_deref());
        in_order(local.into_iter().chain(primary), history, Instant::now())
    }
}

/// Orders nodes, of which the first is preferred.
fn in_order(
    nodes: impl Iterator<Item = Arc<NodeStatus>>,
    history: (Option<Timeline>, Option<&TimelineHistory>),
    now: Instant,
) -> Vec<StoreNode> {
    // Before a server's first sample not even its database is known.
    let nodes = nodes.filter(|it| it.identity.is_some());
    let nodes = nodes.filter(|it| it.condition != NodeCondition::Diverged);
    let mut nodes: Vec<_> = nodes
        .map(|status| StoreNode {
            timeline: timeline(&status, history),
            is_current: status.staleness(now).is_some_and(|it| it <= CURRENT),
            status,
        })
        .collect();
    // Rows that cannot be placed say nothing while another node's can be; a replica that is far behind is asked late.
    nodes.sort_by_key(|it| (it.timeline.is_none(), !it.is_current));
    nodes.dedup_by_key(|it| it.status.node.clone());
    nodes
}

/// Returns the timeline whose rows a node has, if it is known: by the highest one, which is the primary's, and its history.
fn timeline(
    status: &NodeStatus,
    (highest, lineage): (Option<Timeline>, Option<&TimelineHistory>),
) -> Option<Timeline> {
    if status.acts_as_primary {
        return highest;
    }
    let position = status.position.as_ref()?;
    // It has what the primary has written on this timeline, and so its beginning, wherever that is.
    if status.proven_at.is_some() {
        return Some(position.timeline);
    }
    match lineage {
        Some(lineage) => lineage.reached(position),
        None => TimelineHistory::unread(position.system, position.timeline).reached(position),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Lsn, ServerIdentity, SystemId, WalPosition};

    use super::*;

    const SYSTEM: SystemId = SystemId(7);

    fn node(node: NodeId, timeline: u32) -> NodeStatus {
        NodeStatus {
            condition: NodeCondition::Fresh,
            identity: Some(ServerIdentity {
                address: None,
                port: None,
                started_at_us: 1,
            }),
            position: Some(WalPosition {
                system: SYSTEM,
                timeline: Timeline(timeline),
                lsn: Lsn(500),
            }),
            ..NodeStatus::unknown(node)
        }
    }

    fn replica(timeline: u32) -> NodeStatus {
        node(NodeId::Replica("eu-west-1".parse().unwrap()), timeline)
    }

    fn primary(timeline: u32) -> NodeStatus {
        NodeStatus {
            acts_as_primary: true,
            ..node(NodeId::Primary, timeline)
        }
    }

    /// Asked in this order: whether each is the primary, and its timeline.
    fn asked(nodes: &[&NodeStatus], lineage: Option<&TimelineHistory>) -> Vec<(bool, Option<u32>)> {
        let highest = lineage.map(|it| it.present().1);
        let nodes = nodes.iter().map(|it| Arc::new((*it).clone()));
        let ordered = in_order(nodes, (highest, lineage), Instant::now());
        let shown = ordered.iter();
        shown
            .map(|it| (it.status.acts_as_primary, it.timeline.map(|it| it.0)))
            .collect()
    }

    #[test]
    fn a_replica_whose_rows_cannot_be_placed_is_asked_only_after_the_primary() {
        let unread = TimelineHistory::unread(SYSTEM, Timeline(3));
        let (behind, primary) = (replica(3), primary(3));
        let expected = [(true, Some(3)), (false, None)];
        assert_eq!(asked(&[&behind, &primary], Some(&unread)), expected);
        let alone = [(false, None::<u32>)];
        assert_eq!(asked(&[&behind], Some(&unread)), alone);
        assert_eq!(asked(&[&behind], None), alone, "no primary was seen");
        let next = replica(4);
        assert_eq!(asked(&[&next], Some(&unread)), alone, "nor the new one");
    }

    #[test]
    fn what_has_passed_a_fence_of_the_primary_is_on_its_timeline_though_the_history_is_unread() {
        let unread = TimelineHistory::unread(SYSTEM, Timeline(3));
        let proven = NodeStatus {
            proven_at: Some(Instant::now()),
            ..replica(3)
        };
        let expected = [(false, Some(3)), (true, Some(3))];
        assert_eq!(asked(&[&proven, &primary(3)], Some(&unread)), expected);
    }

    #[test]
    fn a_late_replica_is_asked_after_the_primary_and_has_the_rows_of_the_timeline_before() {
        let lineage = TimelineHistory::parse(SYSTEM, Timeline(2), "1\t0/7D0").unwrap();
        let expected = [(true, Some(2)), (false, Some(1))];
        assert_eq!(asked(&[&replica(2), &primary(2)], Some(&lineage)), expected);
    }

    #[test]
    fn a_primary_is_placed_though_its_system_may_not_be_seen() {
        let unread = TimelineHistory::unread(SYSTEM, Timeline(3));
        let blind = |status: NodeStatus| NodeStatus {
            position: None,
            ..status
        };
        let (local, primary) = (blind(replica(3)), blind(primary(3)));
        let expected = [(true, Some(3)), (false, None)];
        assert_eq!(asked(&[&local, &primary], Some(&unread)), expected);
    }

    #[test]
    fn a_server_without_a_sample_and_one_of_another_history_are_not_asked() {
        let unsampled = NodeStatus {
            identity: None,
            position: None,
            ..replica(1)
        };
        let diverged = NodeStatus {
            condition: NodeCondition::Diverged,
            ..replica(1)
        };
        for node in [&unsampled, &diverged] {
            assert_eq!(asked(&[node, &primary(1)], None), [(true, None::<u32>)]);
        }
    }
}
