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
