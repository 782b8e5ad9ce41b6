//! The probes as HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::gateway::health::report::{HealthFacts, HealthReport};
use crate::http::{Drain, PROBE_PATHS, TIDEGATE_UNPROCESSED, Unprocessed};
use crate::postgres::monitor::Monitor;
use crate::postgres::pool::Node;
use tidegate_model::NodeStatus;
use tidegate_model::{NodeId, RegionId};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The state that the probes report on.
#[derive(Clone)]
pub struct HealthState {
    /// The region of this process.
    pub region: RegionId,
    /// This region's replica, if there is one. The monitor watches it.
    pub replica: Option<NodeId>,
    /// What is known about the nodes.
    pub monitor: Arc<Monitor>,
    /// The nodes with their connections.
    pub nodes: Vec<Arc<Node>>,
    /// Whether this process is draining.
    pub drain: Drain,
    /// Greatest healthy lag.
    pub max_lag: Duration,
    /// Whether this gateway suspects itself; `None` without a fleet.
    pub suspects: Option<Arc<AtomicBool>>,
}

impl HealthState {
    /// The node that takes the writes; while there is none, the node at `DATABASE_URL`.
    fn primary(&self) -> Arc<NodeStatus> {
        let knowledge = self.monitor.knowledge();
        let primary = knowledge.primary();
        Arc::clone(primary.unwrap_or_else(|| knowledge.status(&NodeId::Primary)))
    }

    fn replica(&self) -> Option<Arc<NodeStatus>> {
        self.replica.as_ref().map(|node| self.monitor.status(node))
    }

    /// Whether one of these nodes takes no connection beside the monitor's.
    fn is_shut_out(&self, primary: &NodeId) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| {
            let counts = node.id == *primary || Some(&node.id) == self.replica.as_ref();
            counts && node.is_shut_out()
        })
    }

    fn is_ready(&self) -> bool {
        let answers = |node: &NodeStatus| node.reachable == Some(true);
        !self.drain.is_draining()
            && self.monitor.first_round_done()
            && (answers(&self.primary()) || self.replica().is_some_and(|node| answers(&node)))
    }
}

/// Routes [`PROBE_PATHS`].
pub fn public_routes(state: HealthState) -> Router {
    Router::new()
        .route(PROBE_PATHS[0], get(edge))
        .route(PROBE_PATHS[1], get(live))
        .with_state(state)
}

/// Routes [`PROBE_PATHS`] for the gateways of other regions and for this one, which asks itself.
pub fn peer_routes(state: HealthState) -> Router {
    Router::new()
        .route(PROBE_PATHS[0], get(edge_for_peers))
        .route(PROBE_PATHS[1], get(live))
        .with_state(state)
}

/// Routes `/livez` and `/readyz`.
pub fn admin_routes(state: HealthState) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(state)
}

/// Answers whether this region should get traffic: 200 or 503, with the reasons as JSON.
pub async fn edge(State(state): State<HealthState>) -> Response {
    reported(&state).0
}

/// The same, and says of a region that lacks the primary alone that it does: that is a reason to leave it only while
/// another region has one.
async fn edge_for_peers(State(state): State<HealthState>) -> Response {
    let (mut answer, lacks_only_primary) = reported(&state);
    if lacks_only_primary {
        let field = Unprocessed::NoPrimary.field();
        answer.headers_mut().insert(&TIDEGATE_UNPROCESSED, field);
    }
    answer
}

/// Returns the report as an answer, and whether the primary is all that is missing.
fn reported(state: &HealthState) -> (Response, bool) {
    let (primary, replica) = (state.primary(), state.replica());
    let report = HealthReport::new(&HealthFacts {
        region: &state.region,
        primary: &primary,
        replica: replica.as_deref(),
        monitor_alive: state.monitor.alive(Instant::now()),
        draining: state.drain.is_draining(),
        shut_out: state.is_shut_out(&primary.node),
        max_lag: state.max_lag,
        suspects: state.suspects.as_ref().map(|it| it.load(Ordering::Relaxed)),
    });
    let body = serde_json::to_vec(&report).expect("a report has no maps and no failing parts");
    let json = HeaderValue::from_static("application/json");
    let headers = [(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, json)];
    let answer = (status(report.is_healthy()), headers, body).into_response();
    (answer, report.lacks_only_primary())
}

/// Answers that the process serves, and nothing else.
pub async fn live() -> Response {
    text(true, "ok\n")
}

/// Answers whether every node was sampled once and one of them can serve.
pub async fn ready(State(state): State<HealthState>) -> Response {
    match state.is_ready() {
        true => text(true, "ready\n"),
        false => text(false, "not ready\n"),
    }
}

fn text(ok: bool, body: &'static str) -> Response {
    (status(ok), [(CACHE_CONTROL, NO_STORE)], body).into_response()
}

fn status(ok: bool) -> StatusCode {
    match ok {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}
