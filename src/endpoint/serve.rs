//! One request: decide, authenticate, check the cache, read the body, let the backend serve, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, SET_COOKIE};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use super::fetch::{EndpointFetch, cached_request, time_for};
use super::here::authenticate;
use super::own_rules::{CachePlan, OwnRules, send};
use super::reach::Reach;
use super::{Call, Endpoint, EndpointAuth, Frontend, Reached, RouteError, Routes};
use crate::cache::CachedRequest;
use crate::http::{
    Account, Accounted, EndpointSeen, Hop, Problem, ProblemKind, TIDEGATE_UNPROCESSED, Unprocessed,
    read_json,
};
use crate::regions::{NoRegion, RegionRoute};
use tidegate_model::{FORGET_SESSION_COOKIE, Level};
use tidegate_telemetry::trace::{ActiveSpan, SpanKind};
use tidegate_traffic::decide::RegionReason;

/// Serves every path that is not a probe, and returns how the answer was produced.
pub(super) async fn serve(
    frontend: &Arc<Frontend>,
    request: Request,
    seen: &EndpointSeen,
) -> Accounted {
    let mut account = None;
    // Boxed: large, and moved by all that surrounds it.
    let answer = Box::pin(answer(frontend, request, seen, &mut account)).await;
    let is_lost = |problem: &Problem| problem.kind() == ProblemKind::WriteLostInFailover;
    let lost = answer.as_ref().is_err_and(is_lost);
    let unprocessed = answer.as_ref().err();
    let unprocessed = unprocessed.and_then(|problem| Unprocessed::of(problem.kind()));
    let unprocessed = unprocessed.filter(|_| account.as_ref().is_some_and(is_hop));
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if let Some(unprocessed) = unprocessed {
        let headers = response.headers_mut();
        headers.insert(&TIDEGATE_UNPROCESSED, unprocessed.field());
    }
    let decision = account.as_ref().and_then(|known| known.decision.as_ref());
    if lost && decision.is_some_and(|decision| decision.session_cookie) {
        // Drops the cookie, so that the client gets this error only once: a browser cannot do so by
        // itself.
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, FORGET_SESSION_COOKIE.clone());
    }
    Accounted { response, account }
}

async fn answer(
    frontend: &Arc<Frontend>,
    request: Request,
    seen: &EndpointSeen,
    account: &mut Option<Account>,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let mut deciding = ActiveSpan::begin("decide", SpanKind::Internal);
    let (head, body) = request.into_parts();
    let routes = frontend.routes.load_full();
    let reached = match Reached::find(&routes, &head.method, head.uri.path()) {
        Err(error) => return options(&head.method, error),
        Ok(reached) => reached,
    };
    let endpoint = Arc::clone(&reached.endpoint);
    seen.note(&endpoint.metrics);
    let account = account.insert(Account::default());
    let decision = reached.decide(&frontend.tokens, &head.method, &head.headers)?;
    account.decision = Some(decision.clone());
    endpoint.backend.check(&frontend.backends, &head.headers)?;
    let hop = head.extensions.get::<Hop>();
    let reach = Reach::of(frontend, &endpoint.backend);
    let route = route(&routes, &reached, (&head, hop), reach, account)?;
    let hands_on = route.as_ref().is_some_and(|route| reach.hands_on(route));
    // The gateway that serves a request authenticates it.
    let claims = match hands_on {
        true => None,
        false => authenticate(frontend, &endpoint, &head.headers).await?,
    };
    account.timing.route = started.elapsed();
    if let Some(routed) = &account.routed {
        deciding.set("tidegate.policy", &routed.policy);
    }
    deciding.set("tidegate.level", Level::as_str(decision.consistency.level));
    drop(deciding);

    let asked = (&decision, &route);
    let is_probe = hop.is_some_and(|hop| hop.is_probe);
    // Where a token is needed, it was not verified yet.
    let needs_token = hands_on && endpoint.auth == EndpointAuth::Jwt;
    let cached = match needs_token || is_probe {
        true => None,
        false => cached_request(frontend, routes.revision, &reached, asked, &head, account)?,
    };
    if let Some(cached) = cached
        && let Some(response) = from_cache(cached, (&endpoint, &head), account).await
    {
        return Ok(response);
    }

    let (json, body) = match endpoint.backend.reads_json() {
        true => (
            Some(read_json(&head.headers, body, &frontend.server).await?),
            Body::empty(),
        ),
        false => (None, body),
    };
    let is_bound = route.as_ref().is_some_and(|route| route.is_bound);
    let has_body = !body.is_end_stream();
    let cache_plan = match is_probe {
        true => None,
        false => CachePlan::of(&reached, &decision, (&head, has_body), is_bound),
    };
    // Boxed: it is large, and each step would keep a copy.
    let call = Box::new(Call {
        path: reached.path.into_owned(),
        path_values: reached.path_values,
        body,
        json,
        decision,
        route: route.clone(),
        claims,
        time: time_for(hop, frontend.server.request_deadline),
        time_left: hop.map(|hop| hop.time),
        head,
    });
    let plan = cache_plan.map(|plan| (routes.revision, plan));
    serve_call((frontend, &endpoint), plan, call, account).await
}

/// Answers from the response cache; `None` if the request needs an answer of its own.
async fn from_cache(
    cached: CachedRequest<'_, EndpointFetch>,
    (endpoint, head): (&Endpoint, &Parts),
    account: &mut Account,
) -> Option<Response> {
    let mut looking = ActiveSpan::begin("cache", SpanKind::Internal);
    // Boxed: large and rarely needed.
    let answer = cached.answer(&head.headers, account);
    let mut response = Box::pin(looking.around(answer)).await;
    let page = endpoint.backend.sql().and_then(|sql| sql.page.as_deref());
    if let (Some(response), Some(page)) = (&mut response, page) {
        page.relink(&head.uri, response.headers_mut());
    }
    if let Some(status) = account.cache {
        looking.set("tidegate.cache", status.result().as_str());
    }
    response
}

/// Answers from what the application lets be stored, or lets the backend serve.
async fn serve_call(
    (frontend, endpoint): (&Arc<Frontend>, &Arc<Endpoint>),
    plan: Option<(u64, CachePlan)>,
    call: Box<Call>,
    account: &mut Account,
) -> Result<Response, Problem> {
    let (started, route) = (Instant::now(), call.route.clone());
    let own_rules = plan.and_then(|(revision, plan)| {
        OwnRules::of(frontend, (revision, endpoint), plan, &call, account)
    });
    if let Some(own_rules) = &own_rules
        && let Some(answer) = own_rules.stored_answer(&call, account)?
    {
        return Ok(answer);
    }
    if let Some(route) = &route {
        account.routed = Some(Arc::clone(&route.routed));
    }
    let response = match own_rules {
        // Boxed: large and rarely needed.
        Some(own_rules) => Box::pin(own_rules.fetch(call, account)).await,
        None => send(frontend, endpoint, call, account).await,
    };
    if let (Some(route), Some(routed)) = (&route, &account.routed) {
        let status = match &response {
            Ok(response) => response.status(),
            Err(problem) => problem.status(),
        };
        route.acted_upon(routed, started.elapsed(), status.is_server_error());
    }
    response
}

/// Answers a request that has no endpoint: OPTIONS lists the methods of its path.
fn options(method: &Method, error: RouteError) -> Result<Response, Problem> {
    match error {
        RouteError::MethodNotAllowed(allow) if method == Method::OPTIONS => {
            Ok((StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response())
        }
        error => Err(error.into()),
    }
}

/// Whether another region's gateway has handed a request on; it is served here.
fn is_hop(account: &Account) -> bool {
    let routed = account.routed.as_ref();
    routed.is_some_and(|routed| routed.reason == RegionReason::Hop)
}

/// Decides which region serves a request, if there is a traffic policy. What was handed on is served
/// here.
fn route(
    routes: &Routes,
    reached: &Reached<'_>,
    (head, hop): (&Parts, Option<&Hop>),
    reach: Reach<'_>,
    account: &mut Account,
) -> Result<Option<Arc<RegionRoute>>, NoRegion> {
    if let Some(hop) = hop {
        account.routed = Some(hop.routed(reach.own, &head.headers));
        return Ok(None);
    }
    match RegionRoute::decide(&routes.plans(), head, &reached.path, &reach) {
        Ok(route) => Ok(route.map(Arc::new)),
        Err(refused) => {
            account.routed = Some(Arc::clone(&refused.routed));
            Err(refused)
        }
    }
}
