//! Where an application may read from a replica under a decision.

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::middleware::Services;
use crate::policy::Decision;
use crate::region::RegionId;
use crate::routing::{NodeView, Reason, plan};

/// The regions whose replica can honour the decision now, by the same plan that SQL endpoints
/// follow. Without a replica that is known to, it is the primary's.
pub(super) fn replica_regions(
    services: &Services,
    decision: &Decision,
    safe: bool,
) -> Vec<RegionId> {
    let known = services.monitor.knowledge();
    let nodes = &services.nodes;
    let view = |node: &'_ std::sync::Arc<crate::pool::Node>| known.status(&node.id);
    let statuses: SmallVec<[_; 4]> = nodes.iter().map(view).collect();
    let views: SmallVec<[_; 4]> = nodes
        .iter()
        .zip(&statuses)
        .map(|(node, status)| NodeView {
            id: &node.id,
            status,
        })
        .collect();
    let now = Instant::now();
    let plan = plan(decision, safe, &views, &services.selector.ranking(now), now);
    let ready = plan.iter().filter(|step| {
        !step.as_primary && step.wait_for.is_none() && step.reason != Reason::ReplicaLagging
    });
    ready
        .filter_map(|step| nodes[step.node].region.clone())
        .collect()
}
