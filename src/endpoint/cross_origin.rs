//! What pages of other origins may read of one answer.

use std::sync::Arc;

use http::{HeaderMap, Request};
use tidegate_policy::{Cors, RequestOrigin};

use super::Routes;
use crate::http::{Hop, PROBE_PATHS};

/// One request on a row with `cors`.
#[derive(Clone)]
pub(super) struct CrossOrigin {
    cors: Arc<Cors>,
    origin: RequestOrigin,
}

impl CrossOrigin {
    /// Reads a request; nothing for rows without `cors`, for probes, and for what another region's gateway has
    /// handed on, which is answered there.
    pub(super) fn of<B>(routes: &Routes, request: &Request<B>) -> Option<Self> {
        let path = request.uri().path();
        let cors = routes.cors(path)?;
        if PROBE_PATHS.contains(&path) || request.extensions().get::<Hop>().is_some() {
            return None;
        }
        Some(Self {
            cors,
            origin: RequestOrigin::of(request.method(), request.headers()),
        })
    }

    /// Whether the browser asks if it may send another request, which the row alone answers.
    pub(super) fn is_preflight(&self) -> bool {
        self.origin.is_preflight
    }

    /// Puts the fields of the row on an answer.
    pub(super) fn put_on(&self, answer: &mut HeaderMap) {
        self.cors.put_on(answer, &self.origin);
    }
}
