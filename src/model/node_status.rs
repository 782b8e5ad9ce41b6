//! What is known about one node, as published to all readers.

use std::time::Duration;

use tokio::time::Instant;

use crate::NodeCondition;
use crate::NodeId;
use crate::ServerIdentity;
use crate::WalPosition;

/// What was known about a node when its newest sample or fence arrived.
///
/// `identity`, `position` and `proven_at` describe one life of the server and are cleared together
/// as soon as the monitor loses it; credit them only to connections with the same identity.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// What the node can be used for.
    pub condition: NodeCondition,
    /// Whether it takes the writes: at most one node does.
    pub acts_as_primary: bool,
    /// Whether it is up, by the hysteresis over samples; none until there are enough samples.
    pub reachable: Option<bool>,
    /// Whether the newest sample failed, which alone does not make the node unreachable.
    pub missed: bool,
    /// The server life that the sample came from.
    pub identity: Option<ServerIdentity>,
    /// The server life that was seen last, whether or not it is still watched.
    pub last_identity: Option<ServerIdentity>,
    /// The primary's insert LSN or the replica's replay LSN, if the history is known too.
    pub position: Option<WalPosition>,
    /// The latest moment whose complete committed state the node is proven to have; none for the
    /// primary, which needs no proof.
    pub proven_at: Option<Instant>,
    /// How far it is behind at least; none while unknown or unreachable.
    pub lag: Option<Duration>,
    /// When the newest good sample was sent.
    pub sampled_at: Option<Instant>,
    /// How long that sample took.
    pub round_trip: Option<Duration>,
}

impl NodeStatus {
    /// Returns the status before the first sample.
    pub fn unknown(node: NodeId) -> Self {
        Self {
            node,
            condition: NodeCondition::Unknown,
            acts_as_primary: false,
            reachable: None,
            missed: false,
            identity: None,
            last_identity: None,
            position: None,
            proven_at: None,
            lag: None,
            sampled_at: None,
            round_trip: None,
        }
    }

    /// Returns the proven upper bound on how old the node's answers can be; none when unproven.
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        if self.acts_as_primary {
            return Some(Duration::ZERO);
        }
        let proven_at = self.proven_at?;
        Some(now.saturating_duration_since(proven_at))
    }
}
