//! What of the fleet is shown as metrics.

use metrics::{counter, gauge};
use tidegate_fleet::{Dropped, Fleet};
use tidegate_telemetry::names;

/// Sets the metrics.
pub(super) fn show(fleet: &Fleet) {
    gauge!(names::FLEET_SUSPECT).set(f64::from(u8::from(fleet.suspects())));
    let dropped = fleet.dropped();
    for reason in Dropped::ALL {
        let label = reason.as_str();
        counter!(names::FLEET_RECORDS_DROPPED, "reason" => label).absolute(dropped.get(reason));
    }
    for region in fleet.regions().iter().skip(1) {
        let name = region.id().to_string();
        if let Some(round_trip) = fleet.round_trip(region) {
            let seconds = round_trip.as_secs_f64();
            gauge!(names::FLEET_ROUND_TRIP, "region" => name.clone()).set(seconds);
        }
        let open = region.open_connections();
        let dialling = region.connections().saturating_sub(open);
        let lost = region.lost_connections();
        for (state, count) in [("open", open), ("dialling", dialling), ("lost", lost)] {
            let labels = [("region", name.clone()), ("state", state.to_owned())];
            gauge!(names::FLEET_STREAMS, &labels).set(count as f64);
        }
    }
}
