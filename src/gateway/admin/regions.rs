//! The regions of the traffic policy, and the policy itself.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::closed_sets::{region_states, words};
use super::described::described;
use crate::endpoint::RouteError;
use crate::peers::{FleetView, LAG_UNKNOWN, LAGS, shown_lag};
use crate::regions::RegionSummary;
use tidegate_rollout::{RolloutStage, sha256_hex};
use tidegate_traffic::health::Quantities;
use tidegate_traffic::syntax::LANGUAGE;

/// A region of the traffic policy, as this gateway sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RegionEntry {
    /// Its name.
    pub region: String,
    /// `well`, `ramping`, `left`, `draining` or `unreachable`: the worst over all policies; `unknown` for another
    /// region without nodes here and without a fleet, which policies take for well.
    #[schemars(extend("enum" = region_states()))]
    pub state: String,
    /// For how long.
    pub since_s: f64,
    /// How many of its nodes this gateway knows.
    pub nodes: usize,
    /// How far away it is; null without a node that answers.
    pub round_trip_ms: Option<f64>,
    /// Requests per second that this gateway has handed there; with a fleet, those that the region says it serves.
    pub rps: f64,
    /// The share of them that failed, 0 to 1; null while there are too few.
    pub errors: Option<f64>,
    /// The 99th percentile of the time to the head, less the least; null while too few were answered.
    pub p99_ms: Option<f64>,
    /// How far its replica is behind; null while unknown, and without a node of the database. With a fleet it is
    /// what the region's gateways say.
    pub lag_ms: Option<f64>,
    /// Whether that is `known`, `unknown`, which policies take for more than any bound, or `none`: there is nothing
    /// that could be behind, which they take for 0.
    #[serde(default)]
    #[schemars(extend("enum" = words(LAGS)))]
    pub lag: String,
    /// What the policy says it can serve, in requests per second.
    pub capacity_rps: Option<u32>,
    /// How busy the busiest of its pools and limits is, 0 to 1; null without a fleet.
    #[serde(default)]
    pub saturation: Option<f64>,
    /// How many of its gateways are known, without this one; null without a fleet.
    #[serde(default)]
    pub gateways: Option<usize>,
    /// The tunnels to it that are open; null without a fleet.
    #[serde(default)]
    pub tunnels: Option<usize>,
    /// For how long its drain lasts; null without a fleet.
    #[serde(default)]
    pub drained_for_s: Option<u64>,
    /// The oldest revision of the traffic policy that one of its gateways has in force, 0 for the built-in one or a
    /// file; null without a fleet, and until one of them has spoken.
    #[serde(default)]
    pub revision: Option<u32>,
}

impl From<RegionSummary> for RegionEntry {
    fn from(region: RegionSummary) -> Self {
        let Quantities {
            errors, p99, lag, ..
        } = region.quantities;
        // What policies judge by is 0 where there is nothing that could be behind.
        let (lag_ms, lag) = shown_lag(lag, region.has_database);
        Self {
            region: region.region.to_string(),
            state: region.state.to_owned(),
            since_s: region.since.as_secs_f64(),
            nodes: region.nodes,
            round_trip_ms: region.round_trip.map(|it| it.as_secs_f64() * 1_000.0),
            rps: region.rps,
            errors: errors.map(|it| it as f64 / 1_000_000.0),
            p99_ms: p99.map(|it| it as f64 / 1_000.0),
            lag_ms,
            lag: lag.to_owned(),
            capacity_rps: region.capacity_rps,
            saturation: None,
            gateways: None,
            tunnels: None,
            drained_for_s: None,
            revision: None,
        }
    }
}

impl RegionEntry {
    /// Whether it may lag by any time.
    #[must_use]
    pub fn is_lag_unknown(&self) -> bool {
        self.lag == LAG_UNKNOWN
    }

    /// With a fleet, what its gateways say counts.
    fn with_fleet(self, fleet: &FleetView) -> Self {
        let mut regions = fleet.regions.iter();
        let Some(said) = regions.find(|it| it.region == self.region) else {
            return self;
        };
        // Failures have no time: they count as 0.
        let has_answered = said.errors.is_none_or(|it| it < 1.0);
        Self {
            round_trip_ms: said.round_trip_ms,
            rps: said.rps,
            errors: said.errors,
            p99_ms: said.p99_ms.filter(|it| has_answered || *it > 0.0),
            lag_ms: said.lag_ms,
            lag: said.lag.clone(),
            saturation: said.saturation,
            gateways: Some(said.gateways),
            tunnels: Some(said.tunnels),
            drained_for_s: Some(said.drained_for_s),
            revision: said.revision,
            ..self
        }
    }
}

/// The regions; none without a policy.
pub(super) fn entries(state: &AdminState) -> Vec<RegionEntry> {
    let routes = state.routes.load();
    let traffic = routes.traffic();
    let regions = traffic.map(|traffic| traffic.regions());
    let regions = regions.into_iter().flatten();
    let entries = regions.map(RegionEntry::from);
    match state.fleet.as_ref().map(|fleet| fleet.view()) {
        Some(fleet) => entries.map(|it| it.with_fleet(&fleet)).collect(),
        None => entries.collect(),
    }
}

/// A region in the words of health records.
#[derive(Serialize, JsonSchema)]
pub(super) struct HealthRecord {
    /// Its name.
    region: String,
    /// How far away it is; null without a node that answers.
    latency_ms: Option<f64>,
    /// The share of its requests that fail, 0 to 1; null while there are too few.
    error_rate: Option<f64>,
    /// How much of what the policy says it can serve is used; null where it does not say so.
    capacity_pct: Option<f64>,
    /// How far its replica is behind, as `lag_ms` in `/admin/topology`.
    lag_secs: Option<f64>,
    /// What is known of that, as `lag` there.
    #[schemars(extend("enum" = words(LAGS)))]
    lag: String,
    /// When this was said.
    timestamp: String,
    /// Its state: the worst over all policies.
    #[schemars(extend("enum" = region_states()))]
    state: String,
    /// The region whose gateway says so.
    seen_by: String,
}

/// Answers from memory.
pub(super) async fn regions(State(state): State<Arc<AdminState>>) -> Response {
    let timestamp = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let record = |entry: RegionEntry| HealthRecord {
        latency_ms: entry.round_trip_ms,
        error_rate: entry.errors,
        capacity_pct: entry
            .capacity_rps
            .map(|it| entry.rps * 100.0 / f64::from(it)),
        lag_secs: entry.lag_ms.map(|it| it / 1_000.0),
        lag: entry.lag,
        timestamp: timestamp.clone(),
        state: entry.state,
        region: entry.region,
        seen_by: state.region.to_string(),
    };
    let records = entries(&state).into_iter().map(record);
    Json(records.collect::<Vec<_>>()).into_response()
}

/// What is in force, about the text.
#[derive(Serialize, JsonSchema)]
pub(super) struct PolicyEntry {
    /// The revision; 0 for the built-in policy or a file.
    revision: u32,
    /// The rollout that is open, or has put it in force; null without one.
    rollout: Option<u64>,
    /// The stage of the open rollout; null without one.
    #[schemars(with = "Option<String>")]
    stage: Option<RolloutStage>,
    /// Whether it is unknown if the revision has survived the last failover: this gateway reads only a replica that it
    /// cannot place.
    unplaced: bool,
    /// The region of this gateway.
    region: String,
    /// The share of the keys that belongs to it here, 0 to 1.
    share: f64,
    /// The SHA-256 of the text.
    sha256: String,
    /// The version of the language.
    language: u32,
}

/// Answers with the text in force, or with what is known about it if JSON is wanted.
pub(super) async fn policy(State(state): State<Arc<AdminState>>, headers: HeaderMap) -> Response {
    let routes = state.routes.load_full();
    let Some(traffic) = routes.traffic() else {
        return described(RouteError::NotFound, &headers);
    };
    let (text, revision) = (&traffic.file().text, traffic.file().revision);
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/json")) {
        let shown = state.store.shown();
        let is_open = shown.stage.is_some();
        let entry = PolicyEntry {
            revision,
            rollout: shown.rollout,
            stage: shown.stage,
            unplaced: state.store.is_unplaced(),
            region: state.region.to_string(),
            share: if is_open {
                f64::from(shown.share) / 10_000.0
            } else {
                1.0
            },
            sha256: sha256_hex(text.as_bytes()),
            language: LANGUAGE,
        };
        return Json(entry).into_response();
    }
    let tag = HeaderValue::try_from(format!("\"{revision}\""));
    let fields = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        ),
        (ETAG, tag.unwrap_or(HeaderValue::from_static("\"0\""))),
    ];
    (fields, text.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::peers::FleetRegionView;

    fn entry(has_database: bool, lag: u64) -> RegionEntry {
        RegionEntry::from(RegionSummary {
            region: "us-east-1".parse().unwrap(),
            state: "well",
            since: Duration::ZERO,
            quantities: Quantities {
                lag,
                ..Quantities::NONE
            },
            rps: 0.0,
            round_trip: None,
            nodes: 1,
            has_database,
            capacity_rps: None,
        })
    }

    #[test]
    fn a_lag_that_is_unknown_is_told_from_none_without_a_node_of_the_database() {
        let shown = |has_database, lag| {
            let entry = entry(has_database, lag);
            (entry.lag_ms, entry.lag)
        };
        let of = |lag_ms, lag: &str| (lag_ms, lag.to_owned());
        assert_eq!(shown(true, 0), of(Some(0.0), "known"));
        assert_eq!(shown(true, 1_500), of(Some(1.5), "known"));
        assert_eq!(shown(true, Quantities::LAG_UNKNOWN), of(None, "unknown"));
        assert_eq!(shown(false, 0), of(None, "none"));
        let fleet = FleetView {
            regions: vec![FleetRegionView {
                lag_ms: None,
                lag: "unknown".to_owned(),
                ..said("us-east-1")
            }],
            ..FleetView::default()
        };
        let counted = entry(false, 0).with_fleet(&fleet);
        assert_eq!((counted.lag_ms, counted.lag), of(None, "unknown"));
    }

    fn said(region: &str) -> FleetRegionView {
        FleetRegionView {
            region: region.to_owned(),
            state: "well".to_owned(),
            gateways: 1,
            tunnels: 2,
            round_trip_ms: None,
            rps: 1.0,
            errors: None,
            p99_ms: None,
            saturation: None,
            lag_ms: Some(7.0),
            lag: "known".to_owned(),
            drained_for_s: 0,
            revision: None,
            drain_version: 0,
        }
    }

    #[test]
    fn where_all_requests_failed_nothing_is_said_of_their_time() {
        let p99 = |errors, p99_ms| {
            let region = FleetRegionView {
                errors: Some(errors),
                p99_ms: Some(p99_ms),
                ..said("us-east-1")
            };
            let fleet = FleetView {
                regions: vec![region],
                ..FleetView::default()
            };
            entry(true, 0).with_fleet(&fleet).p99_ms
        };
        assert_eq!(p99(1.0, 0.0), None);
        assert_eq!(p99(1.0, 5.0), Some(5.0));
        assert_eq!(p99(0.5, 0.0), Some(0.0));
    }
}
