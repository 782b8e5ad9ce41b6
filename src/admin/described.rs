//! Problems with their bodies, which on the public listener are written by `observe`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue};

use crate::endpoint::RouteError;
use crate::http::{Problem, request_id};

/// A whole response.
pub(super) fn described(problem: impl Into<Problem>, headers: &HeaderMap) -> Response {
    let problem = problem.into();
    let id = request_id(headers);
    let body = problem.body(id.to_str().unwrap_or_default());
    let mut response = problem.into_response();
    *response.body_mut() = Body::from(body);
    response
}

/// What any other method gets.
pub(super) async fn only_post(headers: HeaderMap) -> Response {
    let allow = HeaderValue::from_static("POST");
    described(RouteError::MethodNotAllowed(allow), &headers)
}
