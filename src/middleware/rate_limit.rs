//! Holds every client to the rate limit of the policy row that covers the path.
//!
//! Before anything that costs: no authentication, no body, no node. Every request that the row
//! covers counts, whatever becomes of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderName;

use super::Services;
use super::answer::Account;
use super::decide::Reached;
use super::observe::EndpointSeen;
use crate::admission::{Client, LimitedRow, Spent, client_address};
use crate::error::Problem;
use crate::policy::normalise;
use crate::target::Routes;
use crate::telemetry::names;

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Lets a request go on while its client has something left.
pub(super) async fn rate_limit(
    State(services): State<Arc<Services>>,
    request: Request,
    next: Next,
) -> Response {
    let Some((row, spent)) = spend(&services, &request) else {
        return next.run(request).await;
    };
    let mut response = match spent {
        Spent::Left(_) => next.run(request).await,
        Spent::Refused(wait) => {
            let limit = row.limit;
            Problem::RateLimited { limit, wait }.into_response()
        }
    };
    let for_everybody = is_for_everybody(&response);
    let headers = response.headers_mut();
    if !for_everybody {
        headers.insert(&RATELIMIT, row.field(spent));
    }
    headers.insert(&RATELIMIT_POLICY, row.policy_field.clone());
    response
}

/// Takes the request from its client's budget, if the row that covers the path has a limit.
fn spend(services: &Services, request: &Request) -> Option<(Arc<LimitedRow>, Spent)> {
    let routes = services.routes.load();
    if routes.rate_limits.is_empty() {
        return None;
    }
    // A path that has no normal form is refused further on.
    let path = normalise(request.uri().path()).ok()?;
    let row = routes.rate_limits.row(routes.policies.lookup(&path)?)?;
    let spent = row.spend(client(services, request));
    if let Spent::Refused(_) = spent {
        note_endpoint(&routes, request);
        let policy = row.pattern.to_string();
        metrics::counter!(names::RATE_LIMITED, "policy" => policy).increment(1);
    }
    Some((Arc::clone(row), spent))
}

fn client(services: &Services, request: &Request) -> Client {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // The server knows every peer; strangers would share one budget.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let forwarded_for = request.headers().get_all(&X_FORWARDED_FOR);
    client_address(peer, forwarded_for.iter(), &services.server.trusted_proxies).into()
}

/// A refused request is accounted to the endpoint it would have reached.
fn note_endpoint(routes: &Routes, request: &Request) {
    let seen = request.extensions().get::<EndpointSeen>();
    let reached = Reached::find(routes, request.method(), request.uri().path());
    if let (Some(seen), Ok(reached)) = (seen, reached) {
        seen.note(&reached.endpoint);
    }
}

/// Whether shared caches may keep a response: what one client has left is not for the others.
fn is_for_everybody(response: &Response) -> bool {
    let account = response.extensions().get::<Account>();
    let decision = account.and_then(|account| account.decision.as_ref());
    let refused = response.status().is_client_error() || response.status().is_server_error();
    !refused && decision.is_some_and(|decision| decision.shared_cacheable)
}
