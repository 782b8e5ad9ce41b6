//! What is shown of the fleet.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_fleet::{Fleet, Judge};
use tidegate_traffic::health::{Quantities, State};
use tidegate_traffic::plan::{Plan, RegionIndex};

/// The fleet, as this gateway sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FleetView {
    /// This gateway's id.
    pub gateway: String,
    /// Whether it suspects itself: it has lost more than half of the others.
    pub suspect: bool,
    /// The revision of the traffic policy in force; 0 for the built-in one or a file.
    #[serde(default)]
    pub revision: u32,
    /// The rollout that is open, or has put it in force.
    #[serde(default)]
    pub rollout: Option<u64>,
    /// The share of the keys that belongs to the open rollout here, 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// The regions, its own first.
    pub regions: Vec<FleetRegionView>,
}

/// One region of the fleet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FleetRegionView {
    /// Its name.
    pub region: String,
    /// `well`, `ramping`, `left`, `draining` or `unreachable`: the worst of all judgements.
    #[schemars(extend("enum" = ["well", "ramping", "left", "draining", "unreachable"]))]
    pub state: String,
    /// The gateways that are known there, without this one and those that end.
    pub gateways: usize,
    /// The tunnels that are open.
    pub tunnels: usize,
    /// The smallest round trip to it; null while unknown and for its own.
    pub round_trip_ms: Option<f64>,
    /// What it says that it serves.
    pub rps: f64,
    /// The share of that which fails, 0 to 1, by what it says and what is seen of it; null while there is too
    /// little.
    #[serde(default)]
    pub errors: Option<f64>,
    /// The 99th percentile of the time to the head; null while there is too little.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// How busy the busiest of its pools and limits is, 0 to 1; null while it says nothing.
    #[serde(default)]
    pub saturation: Option<f64>,
    /// How far its replica is behind; null while unknown, and without a node of the database.
    #[serde(default)]
    pub lag_ms: Option<f64>,
    /// Whether that is `known`, `unknown`, which is more than any bound, or `none`: there is nothing that could be
    /// behind, which counts as 0.
    #[serde(default)]
    #[schemars(extend("enum" = LAGS))]
    pub lag: String,
    /// For how long its drain lasts; begun seconds count. Of another region, which tells whole seconds, it may be
    /// one less.
    pub drained_for_s: u64,
    /// The oldest revision of the traffic policy that one of its gateways has in force, 0 for the built-in one or a
    /// file; null until one of them has spoken.
    #[serde(default)]
    pub revision: Option<u32>,
    /// The version of its drain, which is not shown.
    #[serde(skip)]
    pub drain_version: u32,
}

impl FleetView {
    /// Looks at the fleet by one plan.
    pub(super) fn of(fleet: &Fleet, judge: &Judge, plan: &Plan) -> Self {
        let regions = fleet.regions().iter().enumerate();
        let region = |(place, region): (usize, &tidegate_fleet::FleetRegion)| {
            let index = plan.region_index(region.id().as_str());
            let own = place == 0;
            let state = match index {
                Some(index) => state(judge, plan, index),
                None if own || region.is_reachable() => "well",
                None => "unreachable",
            };
            let Quantities {
                errors,
                p99,
                saturation,
                lag,
            } = region.quantities();
            let millionths = |it: u64| it as f64 / 1e6;
            // What policies judge by is 0 where there is nothing that could be behind. Gateways of earlier versions
            // do not say whether there is.
            let has_lag = lag > 0 || fleet.has_database(region.id());
            let (lag_ms, lag) = shown_lag(lag, has_lag);
            FleetRegionView {
                errors: errors.map(millionths),
                p99_ms: p99.map(|it| it as f64 / 1e3),
                saturation: saturation.map(millionths),
                lag_ms,
                lag: lag.to_owned(),
                region: region.id().to_string(),
                state: state.to_owned(),
                gateways: region.staying(),
                tunnels: region.tunnels().count(),
                round_trip_ms: fleet.round_trip(region).map(|it| it.as_secs_f64() * 1e3),
                rps: region.said().rate,
                drained_for_s: whole_seconds(fleet.drained_for(region.id())),
                revision: fleet.revision_of(region.id()),
                drain_version: fleet.drain_version(region.id()),
            }
        };
        Self {
            gateway: fleet.id().to_string(),
            suspect: fleet.suspects(),
            regions: regions.map(region).collect(),
            ..Self::default()
        }
    }
}

/// What is known of a region's lag.
pub const LAGS: [&str; 3] = ["known", LAG_UNKNOWN, "none"];

/// That of a region that may lag by any time.
pub const LAG_UNKNOWN: &str = "unknown";

/// A region's lag in milliseconds, and what is known of it.
#[must_use]
pub fn shown_lag(micros: u64, has_lag: bool) -> (Option<f64>, &'static str) {
    let [known, unknown, none] = LAGS;
    match micros {
        _ if !has_lag => (None, none),
        Quantities::LAG_UNKNOWN => (None, unknown),
        micros => (Some(micros as f64 / 1e3), known),
    }
}

/// Rounds up: what still lasts is not shown as ended.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn state(judge: &Judge, plan: &Plan, region: RegionIndex) -> &'static str {
    if judge.unreachable().has(region) {
        return "unreachable";
    }
    if judge.draining().has(region) {
        return "draining";
    }
    let judgements = 0..plan.judgements().len();
    let states = judgements.map(|it| judge.state(region, it));
    states.fold("well", |worst, state| match (worst, state) {
        ("left", _) | (_, State::Left) => "left",
        ("ramping", _) | (_, State::Ramping { .. }) => "ramping",
        _ => worst,
    })
}
