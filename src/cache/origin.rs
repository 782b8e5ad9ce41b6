//! Where a stored answer came from, and how it is served again.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ETAG, LAST_MODIFIED, LINK};
use http::{HeaderMap, HeaderName, StatusCode};

use super::{Entry, precondition_holds};
use crate::http::{NotSent, Served, StoredBody};
use tidegate_policy::Decision;
use tidegate_policy::http_cache::lists_tag;
use tidegate_telemetry::EndpointMetrics;

/// How a stored answer was decided and produced; the same for all clients that get it.
#[derive(Debug)]
pub struct Origin {
    /// The decision that the answer satisfies.
    pub decision: Decision,
    /// The node that made it.
    pub served: Served,
    /// Its status.
    pub status: StatusCode,
    /// The headers that describe the body and the resource.
    pub headers: HeaderMap,
    /// The endpoint that gave it.
    pub endpoint: Arc<EndpointMetrics>,
}

impl Entry<Origin> {
    /// Answers a request that the entry satisfies; `None` if a precondition of the request does not
    /// hold. Conditions apply only to a 200.
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
        let extensions = response.extensions_mut();
        match status {
            StatusCode::NOT_MODIFIED => extensions
                .insert(NotSent::new(self.body.len(), &self.origin.headers))
                .is_some(),
            _ => extensions
                .insert(StoredBody {
                    body: self.body.clone(),
                    forms: Arc::clone(&self.forms),
                })
                .is_some(),
        };
        Some(response)
    }

    /// Returns the complete answer, or 304 if the client has it.
    pub(super) fn conditional(&self, request: &HeaderMap) -> (StatusCode, Bytes) {
        match lists_tag(request, Some(&self.tag)) {
            false => (StatusCode::OK, self.body.clone()),
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
        }
    }

    /// Sets the headers that describe the representation.
    pub(super) fn represent(&self, headers: &mut HeaderMap, status: StatusCode) {
        let is_wanted = |name: &HeaderName| status != StatusCode::NOT_MODIFIED || *name == LINK;
        for (name, value) in &self.origin.headers {
            if is_wanted(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        if matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED) {
            headers.insert(ETAG, self.tag.clone());
        }
    }
}
