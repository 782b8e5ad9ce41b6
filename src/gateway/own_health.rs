//! How this gateway is, as it tells its fleet.

use std::sync::Arc;
use std::time::Duration;

use tidegate_fleet::Own;

use crate::endpoint::Frontend;
use crate::gateway::health::HealthState;
use crate::peers::OwnHealth;
use crate::policy_store::StoreStatus;
use tidegate_model::NodeId;

/// Makes what a gateway says of itself from what its monitor knows and what it has served, and from how many
/// connections a node has and whether the node at `DATABASE_URL` is in its region.
pub(super) fn own_health(
    health: HealthState,
    frontend: Arc<Frontend>,
    (connections_max, has_first_primary): (usize, bool),
    store: Arc<StoreStatus>,
) -> OwnHealth {
    Box::new(move || {
        let knowledge = health.monitor.knowledge();
        let lag = match &health.replica {
            Some(replica) => knowledge.status(replica).lag,
            None => Some(Duration::ZERO),
        };
        let primary = knowledge.primary().map(|it| &it.node);
        let has_primary = has_first_primary && is_first(primary);
        let served = frontend.observer.served.as_ref();
        let busy = busiest(&frontend, connections_max);
        Own {
            served: served.map(|it| it.summary()).unwrap_or_default(),
            saturation_pct: (busy * 100.0).round().clamp(0.0, 100.0) as u8,
            lag,
            has_database: health.replica.is_some() || has_primary,
            reaches_primary: knowledge.reaches_primary(),
            revision: store.shown().revision,
            leaving: health.drain.is_draining(),
        }
    })
}

/// Whether the node at `DATABASE_URL` takes the writes. Once another one does, nothing says how far behind it is.
fn is_first(primary: Option<&NodeId>) -> bool {
    primary == Some(&NodeId::Primary)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_primary_is_none_of_which_a_lag_is_known() {
        assert!(is_first(Some(&NodeId::Primary)));
        let elsewhere = NodeId::Replica("us-east-1".parse().unwrap());
        assert!(!is_first(Some(&elsewhere)) && !is_first(None));
    }
}
