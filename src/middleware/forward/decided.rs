//! Where an application may read from a replica under a decision.

use tokio::time::Instant;

use crate::middleware::Services;
use tidegate_model::RegionId;
use tidegate_policy::Decision;
use tidegate_policy::Reason;

/// The regions whose replica can honour the decision now, by the same plan that SQL endpoints
/// follow. Without a replica that is known to, it is the primary's.
pub(super) fn replica_regions(
    services: &Services,
    decision: &Decision,
    safe: bool,
) -> Vec<RegionId> {
    let known = services.monitor.knowledge();
    let ranking = services.selector.ranking(Instant::now());
    let plan = services.plan(decision, safe, &known, &ranking);
    let ready = plan.iter().filter(|step| {
        !step.as_primary && step.wait_for.is_none() && step.reason != Reason::ReplicaLagging
    });
    ready
        .filter_map(|step| services.nodes[step.node].region.clone())
        .collect()
}
