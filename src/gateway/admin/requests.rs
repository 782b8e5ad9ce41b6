//! `GET /admin/requests/{id}`: what became of one of the last requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Serialize;
use tidegate_model::{Level, RegionId};
use tidegate_policy::Reason;

use super::AdminState;
use super::closed_sets::{
    cache_results, levels, methods, or_null, problems, reasons, region_reasons,
};
use super::described::described;
use crate::http::{CacheResult, KeptRequest, Problem, ProblemKind};

/// What became of a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RequestEntry {
    /// The id that its answer carries.
    pub request_id: String,
    /// The trace that it belongs to; null without one.
    pub trace_id: Option<String>,
    /// Its span; null unless it is recorded.
    pub span_id: Option<String>,
    /// When its answer was ready.
    pub at: String,
    /// Its method; `other` for one that is not known.
    #[schemars(extend("enum" = methods()))]
    pub method: String,
    /// The template of its path; `unmatched` without an endpoint.
    pub endpoint: String,
    /// The status of its answer; 499 if the client left before.
    pub status: u16,
    /// The type of the problem that was answered.
    #[schemars(extend("enum" = or_null(problems())))]
    pub problem: Option<String>,
    /// The region whose gateway has handed it on.
    pub via: Option<String>,
    /// The effective level.
    #[schemars(extend("enum" = or_null(levels())))]
    pub level: Option<String>,
    /// The node that served it, now or when the answer was stored.
    pub node: Option<String>,
    /// The upstream that the node belongs to.
    pub upstream: Option<String>,
    /// Why the node was chosen.
    #[schemars(extend("enum" = or_null(reasons())))]
    pub reason: Option<String>,
    /// Upper bound of the age of the data; null while unproven.
    pub staleness_s: Option<f64>,
    /// What the response cache did; null if it was not involved.
    #[schemars(extend("enum" = or_null(cache_results())))]
    pub cache: Option<String>,
    /// The traffic policy that governs it.
    pub policy: Option<String>,
    /// Where it would have gone with every region well.
    pub proposed: Option<String>,
    /// Where it was sent.
    pub region: Option<String>,
    /// Why.
    #[schemars(extend("enum" = or_null(region_reasons())))]
    pub region_reason: Option<String>,
    /// Deciding, authenticating and planning.
    pub route_ms: f64,
    /// Waiting for a position and for a connection.
    pub wait_ms: f64,
    /// The database.
    pub db_ms: f64,
    /// The application, until the head of its answer.
    pub upstream_ms: f64,
    /// The gateways of other regions that were asked, until the heads of their answers.
    pub hand_on_ms: f64,
    /// All of it.
    pub total_ms: f64,
}

/// No request with this id is kept.
#[derive(Debug, thiserror::Error)]
#[error("none of the last requests of this gateway has this id")]
struct NotKept;

impl From<NotKept> for Problem {
    fn from(error: NotKept) -> Self {
        Self::of(ProblemKind::NotFound, error)
    }
}

/// Answers from memory.
pub(super) async fn request(
    State(state): State<Arc<AdminState>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let kept = state.requests.as_ref();
    let kept = kept.and_then(|kept| kept.find(&id.ok()?));
    match kept {
        Some(kept) => Json(RequestEntry::from(kept)).into_response(),
        None => described(NotKept, &headers),
    }
}

impl From<KeptRequest> for RequestEntry {
    fn from(kept: KeptRequest) -> Self {
        let text = |it: Option<Arc<str>>| it.map(|it| it.to_string());
        let name = |it: Option<&RegionId>| it.map(RegionId::to_string);
        let millis = |it: std::time::Duration| it.as_secs_f64() * 1_000.0;
        let routed = kept.routed.as_ref();
        Self {
            request_id: kept.id.into_string(),
            trace_id: kept.trace.map(|it| it.to_string()),
            span_id: kept.span.map(|it| it.to_string()),
            at: humantime::format_rfc3339_millis(kept.at).to_string(),
            method: kept.method.to_owned(),
            endpoint: kept.endpoint.to_string(),
            status: kept.status,
            problem: kept.problem.map(|it| it.name().to_owned()),
            via: name(kept.via.as_ref()),
            level: kept.level.map(|it| Level::as_str(it).to_owned()),
            node: text(kept.node),
            upstream: text(kept.upstream),
            reason: kept.reason.map(|it| Reason::as_str(it).to_owned()),
            staleness_s: kept.staleness.map(|it| it.as_secs_f64()),
            cache: kept.cache.map(|it| CacheResult::as_str(it).to_owned()),
            policy: routed.map(|it| it.policy.to_string()),
            proposed: name(routed.and_then(|it| it.proposed.as_ref())),
            region: name(routed.and_then(|it| it.region.as_ref())),
            region_reason: routed.map(|it| it.reason.as_str().to_owned()),
            route_ms: millis(kept.timing.route),
            wait_ms: millis(kept.timing.wait),
            db_ms: millis(kept.timing.db),
            upstream_ms: millis(kept.timing.upstream),
            hand_on_ms: millis(kept.timing.hand_on),
            total_ms: millis(kept.took),
        }
    }
}
