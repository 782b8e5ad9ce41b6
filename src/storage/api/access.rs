//! Authorisation, and the headers of every response.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use tidegate_policy::NO_STORE_PRIVATE;

use super::state::Api;
use crate::auth::{Claims, authorization};
use crate::http::{Problem, ProblemKind, X_REQUEST_ID, is_chunked, request_id};

const READ: &str = "storage:read";
const ADMIN: &str = "storage:admin";

/// Passes on what the token permits; writes the bodies of problems.
pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = match permitted(&api, request.method(), request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions().get::<Arc<Problem>>().cloned() {
        let id = id.to_str().unwrap_or_default();
        *response.body_mut() = Body::from(problem.body(id));
        if problem.is_server_fault() {
            let cause = problem.cause();
            tracing::warn!(request_id = id, %problem, cause, "a request to the storage API failed");
        }
    }
    let headers = response.headers_mut();
    headers.insert(&X_REQUEST_ID, id);
    headers.insert(CACHE_CONTROL, NO_STORE_PRIVATE.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn permitted(api: &Api, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    is_chunked(headers)?;
    let claims = api.verifier.verify(authorization(headers)?).await?;
    let needed = match method.is_safe() {
        true => READ,
        false => ADMIN,
    };
    match has_scope(&claims, needed) {
        true => Ok(()),
        false => Err(Problem::new(
            ProblemKind::Forbidden,
            format!("the token does not have the scope {needed}"),
        )),
    }
}

/// Whether a token has a scope; one that may change may also read.
fn has_scope(claims: &Claims, needed: &str) -> bool {
    let scope = claims.text("scope").unwrap_or_default();
    let has = |name: &str| scope.split(' ').any(|it| it == name);
    has(needed) || has(ADMIN)
}
