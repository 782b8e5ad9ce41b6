//! How this gateway is, as it tells its fleet.

use std::time::Duration;

use tidegate_fleet::Own;

use crate::gateway::health::HealthState;
use crate::peers::OwnHealth;

/// Makes what a gateway says of itself from what its monitor knows.
pub(super) fn own_health(health: HealthState) -> OwnHealth {
    Box::new(move || {
        let knowledge = health.monitor.knowledge();
        let lag = match &health.replica {
            Some(replica) => knowledge.status(replica).lag,
            None => Some(Duration::ZERO),
        };
        Own {
            lag,
            reaches_primary: knowledge.primary().is_some(),
            leaving: health.drain.is_draining(),
            ..Own::default()
        }
    })
}
