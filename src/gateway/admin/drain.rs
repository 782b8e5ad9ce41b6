//! `POST /admin/nodes/{node}/drain` and `…/undrain`: takes a node out of the order, or back in; the
//! nodes of an upstream are at `/admin/upstreams/{upstream}/nodes/{node}/…`.
//!
//! A drained replica gets no requests; the drained primary gets only those that no other node can
//! answer. A drained node of an upstream gets no new request. A drain applies to this process until
//! it ends.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use tokio::time::Instant;

use super::AdminState;
use super::described::described;
use super::topology::NodeEntry;
use super::upstreams::UpstreamNodeEntry;
use crate::http::{Problem, ProblemKind};

/// No node has the name in the path.
#[derive(Debug, thiserror::Error)]
#[error("there is no node of this name; GET /admin/topology lists all")]
struct NoSuchNode;

impl From<NoSuchNode> for Problem {
    fn from(error: NoSuchNode) -> Self {
        Self::of(ProblemKind::NotFound, error)
    }
}

/// A query that is left out would drain a node for longer than was asked for.
#[derive(Debug, thiserror::Error)]
#[error("a node is drained until it is undrained; there is no parameter")]
struct UnexpectedQuery;

impl From<UnexpectedQuery> for Problem {
    fn from(error: UnexpectedQuery) -> Self {
        Self::of(ProblemKind::InvalidParameter, error)
    }
}

/// Takes a node out.
pub(super) async fn drain(
    State(state): State<Arc<AdminState>>,
    node: Result<Path<String>, PathRejection>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    set(&state, &named(node), true, (&query, &headers))
}

/// Takes it back in.
pub(super) async fn undrain(
    State(state): State<Arc<AdminState>>,
    node: Result<Path<String>, PathRejection>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    set(&state, &named(node), false, (&query, &headers))
}

/// Takes a node of an upstream out.
pub(super) async fn drain_upstream(
    State(state): State<Arc<AdminState>>,
    names: Result<Path<(String, String)>, PathRejection>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    set_upstream(&state, &named(names), true, (&query, &headers))
}

/// Takes it back in.
pub(super) async fn undrain_upstream(
    State(state): State<Arc<AdminState>>,
    names: Result<Path<(String, String)>, PathRejection>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    set_upstream(&state, &named(names), false, (&query, &headers))
}

/// Whether a request has parameters.
pub(super) fn has_any(RawQuery(query): &RawQuery) -> bool {
    query.as_ref().is_some_and(|query| !query.is_empty())
}

/// The names in a path; what is not text is the name of nothing.
pub(super) fn named<T: Default>(names: Result<Path<T>, PathRejection>) -> T {
    names.map(|Path(names)| names).unwrap_or_default()
}

/// Answers with the state of the node after the change.
fn set(
    state: &AdminState,
    name: &str,
    drained: bool,
    (query, headers): (&RawQuery, &HeaderMap),
) -> Response {
    if has_any(query) {
        return described(UnexpectedQuery, headers);
    }
    let mut nodes = state.database.members.iter();
    let Some(index) = nodes.position(|member| &*member.name == name) else {
        return described(NoSuchNode, headers);
    };
    let now = Instant::now();
    state.database.selector.drain(index, drained, now);
    tracing::info!(
        node = name,
        drained,
        "an operator drained or undrained a node"
    );
    Json(NodeEntry::of(state, index, now)).into_response()
}

/// Like [`set`], for a node of an upstream.
fn set_upstream(
    state: &AdminState,
    (upstream, node): &(String, String),
    drained: bool,
    (query, headers): (&RawQuery, &HeaderMap),
) -> Response {
    if has_any(query) {
        return described(UnexpectedQuery, headers);
    }
    let now = Instant::now();
    let Some((found, index)) = state.routes.drain_upstream(upstream, node, drained, now) else {
        return described(NoSuchNode, headers);
    };
    tracing::info!(
        upstream,
        node,
        drained,
        "an operator drained or undrained a node"
    );
    Json(UpstreamNodeEntry::of(&found, index, now)).into_response()
}
