//! The shortest way through: a fresh stored answer, given without passing any of the layers.
//!
//! Nothing is decided here that they would decide otherwise. What is stored under a path was decided
//! upon with the same tables, for a request that stated nothing; one that states anything, or whose
//! path has a budget, an escape or a query, goes the long way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;

use super::Services;
use super::answer::{Timing, Told, describe};
use super::cache_note::CacheNote;
use super::cached::{conditional, represent};
use super::observe::{Asked, method_label};
use super::origin::Origin;
use super::request_id::X_REQUEST_ID;
use crate::cache::{CacheResult, Entry, ResponseCache, has_precondition};
use crate::middleware::Landing;
use tidegate_model::{X_CONSISTENCY, X_CONSISTENCY_TOKEN, has_session_cookie};

/// A stored answer that may be given at once.
pub(super) struct Hit {
    cache: Arc<ResponseCache<Origin, Landing>>,
    entry: Arc<Entry<Origin>>,
    age: Duration,
    started: Instant,
}

impl Hit {
    /// Looks for the answer to a request.
    pub(super) fn find<B>(services: &Services, request: &Request<B>) -> Option<Self> {
        let cache = services.cache.as_ref()?;
        let uri = request.uri();
        let plain = matches!(*request.method(), Method::GET | Method::HEAD)
            && uri.query().is_none()
            && !uri.path().contains('%');
        if !plain || states_something(request.headers()) {
            return None;
        }
        let routes = services.routes.load();
        if !routes.rate_limits.is_empty() {
            let row = routes.policies.lookup(uri.path())?;
            if routes.rate_limits.row(row).is_some() {
                return None;
            }
        }
        // A path that is stored is in normal form, and without an escape this one is the same.
        let entry = cache.get_path(routes.revision, uri.path())?;
        let started = Instant::now();
        Some(Self {
            age: entry.fresh_age(started)?,
            cache: Arc::clone(cache),
            entry,
            started,
        })
    }

    /// Gives the answer.
    pub(super) fn respond<B>(
        self,
        services: &Services,
        request: Request<B>,
    ) -> Response<Full<Bytes>> {
        let entry = &*self.entry;
        let method = method_label(request.method());
        let (status, body) = conditional(entry, request.headers());
        let asked = Asked::new(request.headers(), method, self.started);
        // The request's map has room for as many headers; hyper takes it back for the next request.
        let mut headers = request.into_parts().0.headers;
        headers.clear();
        represent(&mut headers, entry, status);
        let told = Told {
            decision: Some(&entry.origin.decision),
            served: entry.origin.served(),
            upstream: entry.origin.upstream(),
            staleness: Some(self.age),
            cache: Some(CacheNote::Stored {
                result: CacheResult::Hit,
                ttl: entry.ttl(self.started),
            }),
            timing: Some(Timing {
                route: self.started.elapsed(),
                ..Timing::default()
            }),
            ..Told::default()
        };
        describe(&mut headers, status, &services.region, &told);
        self.cache.count(CacheResult::Hit);
        let metrics = &entry.origin.endpoint.metrics;
        asked.account_for(metrics, status.as_u16(), &told, None);
        headers.insert(&X_REQUEST_ID, asked.id);
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Whether a request is owed more than what anybody may have.
fn states_something(headers: &HeaderMap) -> bool {
    has_precondition(headers)
        || headers.contains_key(AUTHORIZATION)
        || headers.contains_key(&X_CONSISTENCY)
        || headers.contains_key(&X_CONSISTENCY_TOKEN)
        || has_session_cookie(headers.get_all(COOKIE))
}
