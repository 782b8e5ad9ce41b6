//! Where an application may read from a replica under a decision.

use tokio::time::Instant;

use crate::middleware::Services;
use tidegate_model::RegionId;
use tidegate_policy::Decision;
use tidegate_policy::{Reason, Step};

/// The regions whose replica can honour the decision now, by the same plan that SQL endpoints
/// follow, and until when it is proven to; for good where there is no bound. Without a replica that
/// is known to, it is the primary's.
pub(super) fn replica_regions(
    services: &Services,
    decision: &Decision,
    safe: bool,
) -> Vec<(RegionId, Option<Instant>)> {
    let known = services.monitor.knowledge();
    let ranking = services.selector.ranking(Instant::now());
    let plan = services.plan(decision, safe, &known, &ranking);
    let ready = plan.iter().filter(|step| {
        !step.as_primary && step.wait_for.is_none() && step.reason != Reason::ReplicaLagging
    });
    let bound = decision.consistency.max_staleness;
    let region_until = |step: &Step| {
        let node = &services.nodes[step.node];
        let until = match bound {
            Some(bound) => Some(known.status(&node.id).proven_at? + bound),
            None => None,
        };
        Some((node.region.clone()?, until))
    };
    ready.filter_map(region_until).collect()
}
