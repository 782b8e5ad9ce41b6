//! What is known of all nodes at one moment.

use std::sync::Arc;

use crate::postgres::monitor::roles::Acting;
use tidegate_model::NodeId;
use tidegate_model::NodeStatus;
use tidegate_model::{Timeline, TimelineHistory};

/// The statuses of all nodes and what they amount to, published as one: a request that judges a
/// token by this lineage and asks this primary cannot mix two moments.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// The highest timeline any server of the cluster was ever seen on. Who is on an earlier one is
    /// no primary any more.
    pub timeline: Option<Timeline>,
    /// How the timeline of the last primary came about; none before there was one.
    pub lineage: Option<Arc<TimelineHistory>>,
    pub(super) nodes: Vec<Arc<NodeStatus>>,
    pub(super) acting: Acting,
}

impl Knowledge {
    /// Returns what is known before the first sample.
    pub(super) fn nothing(nodes: &[NodeId]) -> Self {
        let unknown = |node: &NodeId| Arc::new(NodeStatus::unknown(node.clone()));
        Self {
            timeline: None,
            lineage: None,
            nodes: nodes.iter().map(unknown).collect(),
            acting: Acting::Nobody,
        }
    }

    /// Returns what is known of a node.
    ///
    /// # Panics
    /// When the node is not one of those that the monitor was started with.
    pub fn status(&self, node: &NodeId) -> &Arc<NodeStatus> {
        let status = self.nodes.iter().find(|status| status.node == *node);
        status.expect("only nodes that the monitor was started with are asked about")
    }

    /// Returns what is known of the node that takes the writes, if one does.
    pub fn primary(&self) -> Option<&Arc<NodeStatus>> {
        match self.acting {
            Acting::Node(index) => self.nodes.get(index),
            Acting::Nobody | Acting::Ambiguous => None,
        }
    }

    /// Tells whether nobody was promoted between this moment and another.
    pub fn is_about_same_primary(&self, other: &Self) -> bool {
        (self.acting, self.timeline) == (other.acting, other.timeline)
    }
}
