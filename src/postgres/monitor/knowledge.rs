//! What is known about all nodes at one moment.

use std::sync::Arc;

use crate::postgres::monitor::roles::Acting;
use tidegate_model::NodeId;
use tidegate_model::NodeStatus;
use tidegate_model::{Timeline, TimelineHistory};

/// The statuses of all nodes and what follows from them, published as one: a request that judges a
/// token by this lineage and uses this primary cannot mix two moments.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// The highest timeline that any server of the cluster was ever seen on. A server on an earlier
    /// one is no longer the primary.
    pub timeline: Option<Timeline>,
    /// The history of the last primary's timeline; none before there was one.
    pub lineage: Option<Arc<TimelineHistory>>,
    pub(super) nodes: Vec<Arc<NodeStatus>>,
    pub(super) acting: Acting,
}

impl Knowledge {
    /// Returns the state before the first sample.
    pub(super) fn nothing(nodes: &[NodeId]) -> Self {
        let unknown = |node: &NodeId| Arc::new(NodeStatus::unknown(node.clone()));
        Self {
            timeline: None,
            lineage: None,
            nodes: nodes.iter().map(unknown).collect(),
            acting: Acting::Nobody,
        }
    }

    /// Returns what is known about a node.
    ///
    /// # Panics
    /// If the node is not one of those that the monitor was started with.
    pub fn status(&self, node: &NodeId) -> &Arc<NodeStatus> {
        let status = self.nodes.iter().find(|status| status.node == *node);
        status.expect("only nodes that the monitor was started with are queried")
    }

    /// Returns the status of the node that takes the writes, if there is one.
    pub fn primary(&self) -> Option<&Arc<NodeStatus>> {
        match self.acting {
            Acting::Node(index) => self.nodes.get(index),
            Acting::Nobody | Acting::Ambiguous => None,
        }
    }

    /// Returns whether the node that takes the writes answers. It stays the primary while it does not, until
    /// another one is promoted.
    pub fn reaches_primary(&self) -> bool {
        self.primary().is_some_and(|it| it.reachable == Some(true))
    }

    /// Returns whether there was no promotion between this moment and another.
    pub fn is_about_same_primary(&self, other: &Self) -> bool {
        (self.acting, self.timeline) == (other.acting, other.timeline)
    }
}
