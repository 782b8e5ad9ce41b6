//! Hands a request on to an upstream, with the decision, and its answer back.
//!
//! The application behind the gateway is told what was decided and is trusted to obey it; nothing
//! it answers is proven here, so no answer of its carries a staleness.

mod decided;
mod client;
mod request;
mod response;
mod shared;
mod via;

pub(super) use shared::shared_answer;
pub use via::Pseudonym;

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
use tokio::time::Instant;

use super::Services;
use super::answer::{Account, ServedUpstream};
use crate::error::Problem;
use crate::http::AfterHttp;
use crate::http::ServerSettings;
use crate::upstream::{
    Answered, Outgoing, Patience, Upstream, UpstreamError, names_upgrade, tunnel,
};
use tidegate_policy::Decision;

/// One request to hand on.
pub(super) struct Forward<'a> {
    pub(super) services: &'a Services,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) decision: Decision,
    /// Normalised.
    pub(super) path: String,
}

impl Forward<'_> {
    /// Hands the request on and its answer back.
    ///
    /// # Errors
    /// The problem to answer.
    pub(super) async fn forward(
        mut self,
        mut head: Parts,
        body: Body,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let known = self.services.monitor.knowledge();
        self.decision.token = self.decision.token.at_present(known.lineage.as_deref())?;
        let limits = &self.services.server;
        let body = Some(body).filter(|body| !body.is_end_stream());
        if body
            .as_ref()
            .is_some_and(|body| is_longer(body, limits.body_bytes_max))
        {
            return Err(UpstreamError::BodyTooLarge(limits.body_bytes_max).into());
        }
        let client = wants_websocket(&head, body.is_none())
            .then(|| head.extensions.remove::<OnUpgrade>())
            .flatten();
        let outgoing = self.outgoing(head, client.is_some(), account);
        let patience = patience(limits);
        let place = self.services.shedding.enter()?;
        let started = Instant::now();
        let answered = self.upstream.exchange(outgoing, body, patience).await;
        // What remains depends on how fast the client reads.
        drop(place);
        account.timing.upstream = started.elapsed();
        let answered = answered?;
        account.upstream = Some(served(self.upstream, &answered));
        let told = answered.response.headers();
        self.decision = self.decision.restricted_by(told, SystemTime::now());
        account.decision = Some(self.decision.clone());
        Ok(self.answer(answered, client))
    }

    fn outgoing(&self, head: Parts, wants_websocket: bool, account: &mut Account) -> Outgoing {
        let safe = head.method.is_safe();
        let fields = request::fields(self.services, &head, &self.decision, account);
        Outgoing {
            headers: match wants_websocket {
                true => with_websocket(fields),
                false => fields,
            },
            wants_websocket,
            replica_regions: decided::replica_regions(self.services, &self.decision, safe),
            local_region: self.services.region.clone(),
            query: head.uri.query().map(str::to_owned),
            method: head.method,
            path: self.path.clone(),
        }
    }

    fn answer(&self, answered: Answered, client: Option<OnUpgrade>) -> Response {
        let status = answered.response.status();
        let location = response::location(answered.node(), answered.response.headers());
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
        response::rewrite(self.services, headers, status, &self.decision);
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            *headers = with_websocket(std::mem::take(headers));
        }
        response
    }
}

fn patience(limits: &ServerSettings) -> Patience {
    Patience {
        body_bytes_max: limits.body_bytes_max,
        body_timeout: limits.body_timeout,
        deadline: limits.request_deadline,
    }
}

fn served(upstream: &Upstream, answered: &Answered) -> ServedUpstream {
    ServedUpstream {
        upstream: upstream.name().to_owned(),
        node: answered.node().name.clone(),
        region: answered.node().region.clone(),
        turn: answered.turn,
    }
}

/// Says anew what was said on the other connection: fields of one connection are never passed on.
fn with_websocket(mut headers: HeaderMap) -> HeaderMap {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers
}

fn is_longer(body: &Body, bytes_max: usize) -> bool {
    let declared = body.size_hint().lower();
    usize::try_from(declared).map_or(true, |declared| declared > bytes_max)
}

/// Only HTTP/1.1 has this way to change the protocol (RFC 6455), and only to one that is known not
/// to be HTTP: `h2c` would carry requests past everything here.
fn wants_websocket(head: &Parts, has_no_body: bool) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_no_body
        && names_upgrade(&head.headers, "websocket")
}
