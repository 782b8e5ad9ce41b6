//! How this gateway is, as it tells its fleet.

use std::sync::Arc;
use std::time::Duration;

use tidegate_fleet::Own;

use crate::endpoint::Frontend;
use crate::gateway::health::HealthState;
use crate::peers::OwnHealth;
use crate::policy_store::StoreStatus;

/// Makes what a gateway says of itself from what its monitor knows and what it has served, and from how many
/// connections a node has and whether its region has a node.
pub(super) fn own_health(
    health: HealthState,
    frontend: Arc<Frontend>,
    (connections_max, has_database): (usize, bool),
    store: Arc<StoreStatus>,
) -> OwnHealth {
    Box::new(move || {
        let knowledge = health.monitor.knowledge();
        let lag = match &health.replica {
            Some(replica) => knowledge.status(replica).lag,
            None => Some(Duration::ZERO),
        };
        let served = frontend.observer.served.as_ref();
        let busy = busiest(&frontend, connections_max);
        Own {
            served: served.map(|it| it.summary()).unwrap_or_default(),
            saturation_pct: (busy * 100.0).round().clamp(0.0, 100.0) as u8,
            lag,
            has_database,
            reaches_primary: knowledge.reaches_primary(),
            revision: store.shown().revision,
            leaving: health.drain.is_draining(),
        }
    })
}

/// Returns how much is taken of what is taken most: the room for requests, or a node's connections.
fn busiest(frontend: &Frontend, connections_max: usize) -> f64 {
    let members = frontend.backends.database.members.iter();
    let used = members.map(|member| {
        let connections = member.node.connections();
        let used = connections.open.saturating_sub(connections.idle);
        used as f64 / connections_max.max(1) as f64
    });
    used.fold(frontend.shedding.taken(), f64::max)
}
