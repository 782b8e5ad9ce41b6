//! Holds every client to the rate limit of the policy row that covers the path.
//!
//! This comes before anything expensive: authentication, bodies and nodes. Every request that the
//! row covers counts, whatever its outcome.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use http::HeaderName;

use super::serve::serve;
use super::{Frontend, Reached, Routes};
use crate::http::{
    Accounted, Client, EndpointSeen, LimitedRow, Problem, RateLimited, Spent, client_address,
};
use tidegate_model::normalise;
use tidegate_telemetry::names;

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Passes a request on while its client has budget left.
pub(super) async fn rate_limit(
    frontend: &Arc<Frontend>,
    request: Request,
    seen: &EndpointSeen,
) -> Accounted {
    let Some((row, spent)) = spend(frontend, &request, seen) else {
        return serve(frontend, request, seen).await;
    };
    let mut answered = match spent {
        Spent::Left(_) => serve(frontend, request, seen).await,
        Spent::Refused(wait) => {
            let limit = row.limit;
            Accounted::from(Problem::from(RateLimited { limit, wait }).into_response())
        }
    };
    let for_everybody = is_for_everybody(&answered);
    let headers = answered.response.headers_mut();
    if !for_everybody {
        headers.insert(&RATELIMIT, row.field(spent));
    }
    headers.insert(&RATELIMIT_POLICY, row.policy_field.clone());
    answered
}

/// Charges the request to its client's budget, if the row that covers the path has a limit.
fn spend(
    frontend: &Frontend,
    request: &Request,
    seen: &EndpointSeen,
) -> Option<(Arc<LimitedRow>, Spent)> {
    let routes = frontend.routes.load();
    if routes.rate_limits.is_empty() {
        return None;
    }
    // A path that has no normal form is refused later.
    let path = normalise(request.uri().path()).ok()?;
    let row = routes.rate_limits.row(routes.policies.lookup(&path)?)?;
    let spent = row.spend(client(frontend, request));
    if let Spent::Refused(_) = spent {
        note_endpoint(&routes, request, seen);
        let policy = row.pattern.to_string();
        metrics::counter!(names::RATE_LIMITED, "policy" => policy).increment(1);
    }
    Some((Arc::clone(row), spent))
}

fn client(frontend: &Frontend, request: &Request) -> Client {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // The server knows the address of every peer; clients of unknown address would share one
    // budget.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let forwarded_for = request.headers().get_all(&X_FORWARDED_FOR);
    client_address(peer, forwarded_for.iter(), &frontend.server.trusted_proxies).into()
}

/// A refused request is accounted to the endpoint it would have reached.
fn note_endpoint(routes: &Routes, request: &Request, seen: &EndpointSeen) {
    let reached = Reached::find(routes, request.method(), request.uri().path());
    if let Ok(reached) = reached {
        seen.note(&reached.endpoint.metrics);
    }
}

/// Whether shared caches may keep a response: the remaining budget of one client is not for the
/// others.
fn is_for_everybody(answered: &Accounted) -> bool {
    let decision = answered
        .account
        .as_ref()
        .and_then(|account| account.decision.as_ref());
    let status = answered.response.status();
    let refused = status.is_client_error() || status.is_server_error();
    !refused && decision.is_some_and(|decision| decision.shared_cacheable)
}
