//! What the page shows, as values.

use std::sync::Arc;

use super::rates::Rates;
use crate::gateway::admin::Topology;

/// What the page shows.
pub(super) struct Seen {
    pub(super) topology: Topology,
    pub(super) rates: Arc<Rates>,
    pub(super) policy: Option<PolicySeen>,
    pub(super) has_cache: bool,
}

/// The traffic policy in force, and its rollout.
pub(super) struct PolicySeen {
    /// 0 for the built-in policy or a file.
    pub(super) revision: u32,
    pub(super) stage: Option<String>,
    pub(super) candidate: Option<u32>,
    /// Of the keys that belong to the candidate, 0 to 1.
    pub(super) share: f64,
}

/// What of the state is written.
#[derive(Clone, Copy)]
pub(super) struct Detail {
    pub(super) ways: bool,
    pub(super) map: bool,
    pub(super) moves: usize,
    /// Rows of upstream nodes that serve.
    pub(super) upstreams_well: usize,
    /// Rows of nodes, and of regions, that are well.
    pub(super) well: usize,
    /// Regions that are not.
    pub(super) regions_ailing: usize,
    /// Nodes that are not, of the database and of upstreams.
    pub(super) nodes_ailing: usize,
}
