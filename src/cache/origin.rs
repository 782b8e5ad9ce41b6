//! Where a stored answer came from, and how it is given again.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::{Entry, none_match, precondition_holds};
use crate::http::Served;
use tidegate_policy::Decision;
use tidegate_telemetry::EndpointMetrics;

/// What was decided and done when a stored answer was made; the same for all who are given it.
#[derive(Debug)]
pub struct Origin {
    /// What the answer is good for.
    pub decision: Decision,
    /// Which node made it.
    pub served: Served,
    /// Its status.
    pub status: StatusCode,
    /// What describes the body and the resource.
    pub headers: HeaderMap,
    /// The endpoint that it is an answer of.
    pub endpoint: Arc<EndpointMetrics>,
}

impl Entry<Origin> {
    /// Answers a request that the entry is good for; none when a condition of it does not hold.
    /// Conditions count for a 200 alone.
    pub(super) fn respond(&self, request: &HeaderMap) -> Option<Response> {
        let (status, body) = match self.origin.status {
            StatusCode::OK => {
                let modified = self.origin.headers.get(LAST_MODIFIED);
                precondition_holds(request, &self.tag, modified)
                    .then(|| self.conditional(request))?
            }
            other => (other, self.body.clone()),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        self.represent(response.headers_mut(), status);
        Some(response)
    }

    /// Returns the answer whole, or 304 if the client has it.
    pub(super) fn conditional(&self, request: &HeaderMap) -> (StatusCode, Bytes) {
        match none_match(request, &self.tag) {
            true => (StatusCode::OK, self.body.clone()),
            false => (StatusCode::NOT_MODIFIED, Bytes::new()),
        }
    }

    /// Sets the headers that describe the bytes.
    pub(super) fn represent(&self, headers: &mut HeaderMap, status: StatusCode) {
        if status != StatusCode::NOT_MODIFIED {
            for (name, value) in &self.origin.headers {
                headers.append(name.clone(), value.clone());
            }
        }
        if matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED) {
            headers.insert(ETAG, self.tag.clone());
        }
    }
}
