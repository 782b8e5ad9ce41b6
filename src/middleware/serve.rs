//! One request: decide, authenticate, read the body, bind, ask the nodes, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::Services;
use super::answer::{Account, Answered, Timing};
use super::body::read_json;
use super::cache_note::CacheNote;
use super::cached::{self, Cached};
use super::decide::Reached;
use super::fetch::Fetch;
use super::forward::Forward;
use super::observe::EndpointSeen;
use super::run::{Outcome, Run};
use crate::auth::{AuthError, Claims};
use crate::cache::{CacheError, entity_tag, has_precondition, precondition_holds};
use crate::config::EndpointAuth;
use crate::endpoint::{Endpoint, RouteError, Target};
use crate::http::{JsonObject, Problem, ProblemKind, Query};
use crate::sql::{RequestValues, SqlError, SqlTarget};
use crate::upstream::UpstreamError;
use tidegate_model::FORGET_SESSION_COOKIE;
use tidegate_policy::Decision;

/// Serves every path that is no probe, and tells how the answer came about.
pub(super) async fn serve(
    services: &Arc<Services>,
    request: Request,
    seen: &EndpointSeen,
) -> Answered {
    let mut account = None;
    let answer = answer(services, request, seen, &mut account).await;
    let lost =
        matches!(&answer, Err(problem) if problem.kind() == ProblemKind::WriteLostInFailover);
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let decision = account.as_ref().and_then(|known| known.decision.as_ref());
    if lost && decision.is_some_and(|decision| decision.session_cookie) {
        // Told once: a browser could not go on without the cookie by itself.
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, FORGET_SESSION_COOKIE.clone());
    }
    Answered { response, account }
}

async fn answer(
    services: &Arc<Services>,
    request: Request,
    seen: &EndpointSeen,
    account: &mut Option<Account>,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let routes = services.routes.load_full();
    let reached = match Reached::find(&routes, &head.method, head.uri.path()) {
        Err(RouteError::MethodNotAllowed(allow)) if head.method == Method::OPTIONS => {
            return Ok((StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response());
        }
        reached => reached?,
    };
    seen.note(&reached.endpoint);
    let account = account.insert(Account::default());
    let decision = reached.decide(&services.tokens, &head.method, &head.headers)?;
    account.decision = Some(decision.clone());
    let is_handed_on = matches!(reached.endpoint.target, Target::Upstream { .. });
    if is_handed_on && services.pseudonym.has_signed(&head.headers) {
        return Err(UpstreamError::Loop.into());
    }
    let claims = authenticate(services, &reached.endpoint, &head).await?;
    account.timing.route = started.elapsed();
    let revision = routes.revision;
    let cached = cached(services, revision, &reached, &decision, &head, account)?;
    if let Some(cached) = cached
        // Boxed, as all that is large and not of every request.
        && let Some(response) = Box::pin(cached.answer(&head.headers, account)).await
    {
        return Ok(response);
    }

    let endpoint = Arc::clone(&reached.endpoint);
    let target = match &endpoint.target {
        Target::Sql(target) => target,
        Target::Upstream { upstream, .. } => {
            let forward = Forward {
                services,
                upstream,
                decision,
                path: reached.path.into_owned(),
            };
            return Box::pin(forward.forward(head, body, account)).await;
        }
    };
    let body = match target.reads_body {
        true => Some(read_json(&head.headers, body, &services.server).await?),
        false => None,
    };
    let asked = Asked {
        target,
        head: &head,
        reached,
        decision,
        body,
        claims,
    };
    let outcome = asked.ask(services, &mut account.timing).await?;
    account.served = Some(outcome.served.clone());
    Ok(respond(services, &asked, outcome))
}

/// The request's part in the response cache, if it has one.
fn cached<'a>(
    services: &'a Arc<Services>,
    revision: u64,
    reached: &Reached<'_>,
    decision: &Decision,
    head: &Parts,
    account: &mut Account,
) -> Result<Option<Cached<'a>>, Problem> {
    let Some(cache) = &services.cache else {
        return Ok(None);
    };
    let Ok(lifetime) = reached.lifetime(decision, &head.headers) else {
        account.cache = decision.vary.then_some(CacheNote::Bypass);
        return Ok(None);
    };
    let key = cached::key(revision, reached, head.uri.query())?;
    let fetch = || Fetch {
        services: Arc::clone(services),
        endpoint: Arc::clone(&reached.endpoint),
        decision: decision.clone(),
        path_values: reached.path_values.clone(),
        uri: head.uri.clone(),
        lifetime,
    };
    Ok(key.map(|key| Cached {
        cache,
        key,
        fetch: Arc::new(fetch()),
        started: Instant::now(),
    }))
}

/// The claims of the request's token, which has all that the statement names: nothing is bound in
/// place of one that says who the client is.
async fn authenticate(
    services: &Services,
    endpoint: &Endpoint,
    head: &Parts,
) -> Result<Option<Claims>, Problem> {
    if endpoint.auth == EndpointAuth::None {
        return Ok(None);
    }
    let token = head.headers.get(AUTHORIZATION);
    let claims = services.verifier.verify(token).await?;
    let mut needed = endpoint.sql().into_iter().flat_map(SqlTarget::claims);
    match needed.find(|name| claims.text(name).is_none()) {
        Some(missing) => Err(AuthError::Claim(missing.to_owned().into()).into()),
        None => Ok(Some(claims)),
    }
}

/// A request that is known, allowed and read whole.
struct Asked<'a> {
    target: &'a SqlTarget,
    head: &'a Parts,
    reached: Reached<'a>,
    decision: Decision,
    body: Option<Bytes>,
    claims: Option<Claims>,
}

impl Asked<'_> {
    /// Binds the request's values and runs the endpoint's statement.
    async fn ask(&self, services: &Services, timing: &mut Timing) -> Result<Outcome, Problem> {
        let target = self.target;
        let query = Query::parse(self.head.uri.query().unwrap_or_default())?;
        let body = self.body.as_deref().map(JsonObject::parse).transpose()?;
        let not_a_string = |body: &JsonObject<'_>| {
            let mut names = target.body_strings.iter();
            names.find(|name| body.is_other_than_string(name)).cloned()
        };
        if let Some(name) = body.as_ref().and_then(not_a_string) {
            return Err(SqlError::NotAString(name).into());
        }
        let values = RequestValues {
            path: &self.reached.path_values,
            query: &query,
            body: body.as_ref(),
            claims: self.claims.as_ref().map(|Claims(claims)| claims),
            headers: &self.head.headers,
        };
        let arguments = values.bind(&target.statement).map_err(SqlError::from)?;
        let run = Run {
            services,
            target,
            decision: &self.decision,
            arguments: &arguments,
            safe: self.head.method.is_safe(),
            deadline: Instant::now() + services.server.request_deadline,
        };
        let _place = services.shedding.enter()?;
        Ok(run.run(timing).await?)
    }
}

/// Whether a safe request wants this answer, of which it knows the tag from a stored one.
fn holds(asked: &Asked<'_>, body: &[u8]) -> bool {
    let head = asked.head;
    let counts = head.method.is_safe()
        && asked.target.status == StatusCode::OK
        && has_precondition(&head.headers);
    !counts || precondition_holds(&head.headers, &entity_tag(body), None)
}

fn respond(services: &Services, asked: &Asked<'_>, outcome: Outcome) -> Response {
    let mut response = match outcome.answer.body {
        Some(body) if !holds(asked, &body) => {
            Problem::from(CacheError::PreconditionFailed).into_response()
        }
        Some(body) => {
            let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (asked.target.status, json, Body::from(body)).into_response()
        }
        None => Problem::from(SqlError::NoRow).into_response(),
    };
    let headers = response.headers_mut();
    if let Some(seen) = &outcome.seen {
        services.give_token(headers, &asked.decision, seen);
    }
    response
}
