//! Forwards a request to an upstream, with the decision, and returns its answer.
//!
//! The application behind the gateway receives the decision and is trusted to obey it; nothing in
//! its answers is proven here, so none of them carries a staleness.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::FutureExt;
use http::header::{CONNECTION, LOCATION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper::body::Body as _;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Duration, Instant};

use super::exchange::exchange;
use super::position::position_seen;
use super::{
    Answered, Outgoing, Patience, PositionSource, Proxy, Upstream, UpstreamError, names_upgrade,
    request_fields, response_fields, tunnel,
};
use crate::http::{Account, AfterHttp, NodeRole, Problem, Served};
use crate::regions::RegionRoute;
use tidegate_model::{RegionId, RequestToken};
use tidegate_policy::{Decision, Reason};
use tidegate_steering::Turn;

/// One request to forward.
pub struct ProxiedRequest {
    /// Its head.
    pub head: Parts,
    /// Its body, as it arrives.
    pub body: Body,
    /// Its normalised path.
    pub path: String,
    /// The path template of its endpoint.
    pub template: Arc<str>,
    /// Its decision.
    pub decision: Decision,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<Arc<RegionRoute>>,
    /// What other regions leave of its time, if it was handed on or may be.
    pub time_left: Option<Duration>,
    /// Where the position comes from that its answer has seen.
    pub position: PositionSource,
}

impl Proxy {
    /// Refuses a request that this process has passed on before.
    ///
    /// # Errors
    /// [`UpstreamError::Loop`].
    pub fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), UpstreamError> {
        match self.pseudonym.has_signed(headers) {
            true => Err(UpstreamError::Loop),
            false => Ok(()),
        }
    }

    /// Forwards a request, and returns the answer with the body yet to come.
    ///
    /// # Errors
    /// The problem to answer.
    pub async fn forward(
        &self,
        upstream: &Arc<Upstream>,
        request: ProxiedRequest,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let ProxiedRequest {
            mut head,
            body,
            path,
            template,
            mut decision,
            route,
            time_left,
            position,
        } = request;
        let known = self.database.monitor.knowledge();
        decision.token = decision.token.at_present(known.lineage.as_deref())?;
        let bytes_max = self.patience.body_bytes_max;
        let body = Some(body).filter(|body| !body.is_end_stream());
        if body.as_ref().is_some_and(|body| is_longer(body, bytes_max)) {
            return Err(UpstreamError::BodyTooLarge(bytes_max).into());
        }
        let client = wants_websocket(&head, body.is_none())
            .then(|| head.extensions.remove::<OnUpgrade>())
            .flatten();
        self.wait_for_token(upstream, &head, &decision, account)
            .await;
        let path = (template, path);
        let mut outgoing = self.outgoing(&head, path, &decision, client.is_some(), account);
        outgoing.take_route(route);
        let started = Instant::now();
        let patience = Patience {
            time_left,
            ..self.patience
        };
        let answered = exchange(upstream, &outgoing, body, patience).await;
        account.timing.upstream = started.elapsed();
        let answered = answered?;
        if let Some(read_at) = answered.read_at {
            account.timing.upload = read_at.saturating_duration_since(started);
        }
        account.served = Some(served(upstream, &answered));
        let said = answered.response.headers();
        let decision = decision.restricted_by(said, SystemTime::now());
        account.decision = Some(decision.clone());
        let answer = &answered.response;
        account.seen = position_seen(self, position, &head, &decision, answer, account).await;
        Ok(Self::answer(answered, &decision, client))
    }

    /// Gives the replica that the application would read from time to reach the position of a read's token.
    async fn wait_for_token(
        &self,
        upstream: &Upstream,
        head: &Parts,
        decision: &Decision,
        account: &mut Account,
    ) {
        if !head.method.is_safe() || !matches!(decision.token, RequestToken::Verified(_)) {
            return;
        }
        let regions = || {
            let nodes = upstream.nodes().iter();
            nodes.map(|node| node.region.as_ref().unwrap_or(&self.region))
        };
        let is_read_from = |region: &RegionId| regions().any(|it| it == region);
        let started = Instant::now();
        self.database.wait_for_token(decision, is_read_from).await;
        account.timing.wait += started.elapsed();
    }

    fn outgoing(
        &self,
        head: &Parts,
        (template, path): (Arc<str>, String),
        decision: &Decision,
        wants_websocket: bool,
        account: &mut Account,
    ) -> Outgoing {
        let safe = head.method.is_safe();
        let fields = request_fields::fields(self, head, decision, account);
        Outgoing {
            headers: match wants_websocket {
                true => with_websocket(fields),
                false => fields,
            },
            wants_websocket,
            replica_regions: self.database.replica_regions(decision, safe),
            local_region: self.region.clone(),
            route: None,
            query: head.uri.query().map(str::to_owned),
            method: head.method.clone(),
            template,
            path,
        }
    }

    fn answer(answered: Answered, decision: &Decision, client: Option<OnUpgrade>) -> Response {
        let status = answered.response.status();
        let location = response_fields::location(answered.node(), answered.response.headers());
        let mut response = match client.filter(|_| status == StatusCode::SWITCHING_PROTOCOLS) {
            Some(client) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = status;
                *response.headers_mut() = answered.response.headers().clone();
                let rest = AfterHttp::new(tunnel(client, answered).boxed());
                response.extensions_mut().insert(rest);
                response
            }
            None => answered.into_response(),
        };
        let headers = response.headers_mut();
        response_fields::rewrite(headers, status, decision);
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            *headers = with_websocket(std::mem::take(headers));
        }
        response
    }
}

/// Describes the node of an upstream that served.
pub(super) fn served(upstream: &Upstream, answered: &Answered) -> Served {
    Served {
        node: answered.node().shared_name(),
        region: answered.node().region.clone(),
        gateway: None,
        role: NodeRole::Upstream,
        upstream: Some(upstream.shared_name()),
        reason: match answered.turn {
            Turn::First => None,
            Turn::Retry => Some(Reason::Retry),
            Turn::Hedge => Some(Reason::Hedge),
        },
        staleness: None,
    }
}

/// Sets the fields that the other connection also had: fields of one connection are never
/// forwarded.
#[must_use]
pub fn with_websocket(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers
}

fn is_longer(body: &Body, bytes_max: usize) -> bool {
    let declared = body.size_hint().lower();
    usize::try_from(declared).map_or(true, |declared| declared > bytes_max)
}

/// Returns whether a request asks to become a WebSocket.
///
/// Only HTTP/1.1 has this way to change the protocol (RFC 6455). Only WebSocket is accepted, which
/// is not HTTP: with `h2c`, requests would bypass the gateway.
#[must_use]
pub fn wants_websocket(head: &Parts, has_no_body: bool) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_no_body
        && names_upgrade(&head.headers, "websocket")
}
