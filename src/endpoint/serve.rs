//! One request: decide, authenticate, check the cache, read the body, let the backend serve, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, AUTHORIZATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::fetch::cached_request;
use super::{Call, EndpointAuth, Frontend, Reached, RouteError, Routes};
use crate::http::{Account, Accounted, EndpointSeen, Problem, ProblemKind, read_json};
use crate::regions::{NoRegion, RegionRoute};
use tidegate_model::{
    FORGET_SESSION_COOKIE, TokenKeys, WalPosition, X_CONSISTENCY_TOKEN, session_cookie,
};
use tidegate_policy::Decision;

/// Serves every path that is not a probe, and returns how the answer was produced.
pub(super) async fn serve(
    frontend: &Arc<Frontend>,
    request: Request,
    seen: &EndpointSeen,
) -> Accounted {
    let mut account = None;
    let answer = answer(frontend, request, seen, &mut account).await;
    let is_lost = |problem: &Problem| problem.kind() == ProblemKind::WriteLostInFailover;
    let lost = answer.as_ref().is_err_and(is_lost);
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
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
    let (head, body) = request.into_parts();
    let routes = frontend.routes.load_full();
    let reached = match Reached::find(&routes, &head.method, head.uri.path()) {
        Err(RouteError::MethodNotAllowed(allow)) if head.method == Method::OPTIONS => {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response());
        }
        reached => reached?,
    };
    let endpoint = Arc::clone(&reached.endpoint);
    seen.note(&endpoint.metrics);
    let account = account.insert(Account::default());
    let decision = reached.decide(&frontend.tokens, &head.method, &head.headers)?;
    account.decision = Some(decision.clone());
    endpoint.backend.check(&frontend.backends, &head.headers)?;
    let claims = match endpoint.auth {
        EndpointAuth::None => None,
        EndpointAuth::Jwt => {
            let (token, needed) = (head.headers.get(AUTHORIZATION), endpoint.backend.claims());
            Some(frontend.verifier.verify_with(token, needed).await?)
        }
    };
    account.timing.route = started.elapsed();

    let route = route(&routes, &reached, &head, account)?;
    let revision = routes.revision;
    let asked = (&decision, &route);
    let cached = cached_request(frontend, revision, &reached, asked, &head, account)?;
    if let Some(cached) = cached
        // Boxed: large and rarely needed.
        && let Some(response) = Box::pin(cached.answer(&head.headers, account)).await
    {
        return Ok(response);
    }

    account.routed = route.as_ref().map(|route| Arc::clone(&route.routed));
    let (json, body) = match endpoint.backend.reads_json() {
        true => {
            let json = read_json(&head.headers, body, &frontend.server).await?;
            (Some(json), Body::empty())
        }
        false => (None, body),
    };
    let call = Call {
        path: reached.path.into_owned(),
        path_values: reached.path_values,
        head,
        body,
        json,
        decision,
        route: route.clone(),
        claims,
        time: frontend.server.request_deadline,
    };
    let permit = frontend.shedding.enter()?;
    let backends = &frontend.backends;
    let response = endpoint.backend.serve(backends, call, account).await;
    if let Some(route) = &route {
        let status = match &response {
            Ok(response) => response.status(),
            Err(problem) => problem.status(),
        };
        route.acted_upon(started.elapsed(), status.is_server_error());
    }
    let mut response = response?;
    // What remains depends on how fast the client reads.
    drop(permit);
    if let (Some(decision), Some(seen)) = (&account.decision, &account.seen) {
        give_token(&frontend.tokens, response.headers_mut(), decision, seen);
    }
    Ok(response)
}

/// Decides which region serves a request, if there is a traffic policy.
fn route(
    routes: &Routes,
    reached: &Reached<'_>,
    head: &Parts,
    account: &mut Account,
) -> Result<Option<Arc<RegionRoute>>, NoRegion> {
    let backend = &reached.endpoint.backend;
    match RegionRoute::decide(&routes.plans(), head, &reached.path, backend) {
        Ok(route) => Ok(route.map(Arc::new)),
        Err(refused) => {
            account.routed = Some(Arc::clone(&refused.routed));
            Err(refused)
        }
    }
}

/// Gives a client the position that it has seen by now.
fn give_token(
    tokens: &TokenKeys,
    headers: &mut HeaderMap,
    decision: &Decision,
    seen: &WalPosition,
) {
    let token = tokens.sign(seen);
    if decision.session_cookie
        && let Ok(cookie) = session_cookie(&token)
    {
        headers.append(SET_COOKIE, cookie);
    }
    if let Ok(token) = HeaderValue::try_from(token) {
        headers.insert(&X_CONSISTENCY_TOKEN, token);
    }
}
