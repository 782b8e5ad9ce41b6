//! How this gateway is, as it tells its fleet.

use std::sync::Arc;
use std::time::Duration;

use tidegate_fleet::Own;

use crate::gateway::health::HealthState;
use crate::peers::OwnHealth;
use crate::policy_store::StoreStatus;

/// Makes what a gateway says of itself from what its monitor knows.
pub(super) fn own_health(health: HealthState, store: Arc<StoreStatus>) -> OwnHealth {
    Box::new(move || {
        let knowledge = health.monitor.knowledge();
        let lag = match &health.replica {
            Some(replica) => knowledge.status(replica).lag,
            None => Some(Duration::ZERO),
        };
        Own {
            lag,
            reaches_primary: knowledge.primary().is_some(),
            revision: store.shown().revision,
            leaving: health.drain.is_draining(),
            ..Own::default()
        }
    })
}
