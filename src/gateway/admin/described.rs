//! Problems with their bodies; on the public listener, `observe` writes the bodies.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, HeaderValue};
use tidegate_policy::NO_STORE_PRIVATE;

use crate::endpoint::RouteError;
use crate::http::{Problem, request_id};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A complete response.
#[must_use]
pub fn described(problem: impl Into<Problem>, headers: &HeaderMap) -> Response {
    let problem = problem.into();
    let id = request_id(headers);
    let body = problem.body(id.to_str().unwrap_or_default());
    let mut response = problem.into_response();
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE_PRIVATE.clone());
    headers.insert(&X_REQUEST_ID, id);
    response
}

/// The answer to a path that does not exist.
pub(super) async fn not_found(headers: HeaderMap) -> Response {
    described(RouteError::NotFound, &headers)
}

/// The answer to any method other than GET and HEAD.
pub(super) async fn only_get(headers: HeaderMap) -> Response {
    let allow = HeaderValue::from_static("GET, HEAD");
    described(RouteError::MethodNotAllowed(allow), &headers)
}

/// The answer to any method other than POST.
pub(super) async fn only_post(headers: HeaderMap) -> Response {
    let allow = HeaderValue::from_static("POST");
    described(RouteError::MethodNotAllowed(allow), &headers)
}
