//! The cache fast path: a fresh stored answer, returned without passing any of the layers.
//!
//! No decision differs from theirs. The answer stored under a path was decided with the same tables,
//! for a request that stated no requirements; a request that states any, or whose path has a budget,
//! an escape or a query, passes all layers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, IF_MATCH, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{Either, Full};
use tokio::time::Instant;

use super::{AnswerCache, Entry, Origin};
use crate::http::{
    AccountView, CacheResult, CacheStatus, Compression, Observer, Stored, Timing, X_REQUEST_ID,
    describe,
};
use tidegate_model::{X_CONSISTENCY, X_CONSISTENCY_TOKEN, has_session_cookie};

/// A stored answer that may be returned at once.
pub struct Hit {
    entry: Arc<Entry<Origin>>,
    age: Duration,
    started: Instant,
}

impl Hit {
    /// Looks for the answer to a request. `revision` returns that of the tables that cover its
    /// path, or `None` if the path has a budget.
    pub fn find<B>(
        cache: &AnswerCache,
        request: &Request<B>,
        revision: impl FnOnce(&str) -> Option<u64>,
    ) -> Option<Self> {
        let uri = request.uri();
        let plain = matches!(*request.method(), Method::GET | Method::HEAD)
            && uri.query().is_none()
            && !uri.path().contains('%');
        if !plain || states_something(request.headers()) {
            return None;
        }
        // Stored paths are in normal form, and without an escape this one can equal a stored one
        // only if it is in normal form too.
        let entry = cache.get_path(revision(uri.path())?, uri.path())?;
        let started = Instant::now();
        Some(Self {
            age: entry.fresh_age(started)?,
            entry,
            started,
        })
    }

    /// Returns the answer.
    pub fn respond<B>(
        self,
        observer: &Observer,
        compression: &Compression,
        request: Request<B>,
    ) -> Response<Either<Full<Bytes>, Body>> {
        let entry = &*self.entry;
        let (status, body) = entry.conditional(request.headers());
        let stored = Stored {
            headers: &entry.origin.headers,
            is_fixed: entry.origin.decision.no_transform,
            body: &entry.body,
        };
        let coding = compression.of_stored(stored, request.headers());
        let access = observer.begin_hit(&request, self.started);
        // The request's map has room for as many headers; hyper takes it back for the next request.
        let mut headers = request.into_parts().0.headers;
        headers.clear();
        entry.represent(&mut headers, status);
        let account = AccountView {
            decision: Some(&entry.origin.decision),
            served: Some(&entry.origin.served),
            staleness: Some(self.age),
            cache: Some(CacheStatus::Stored {
                result: CacheResult::Hit,
                ttl: entry.ttl(self.started),
            }),
            timing: Some(Timing {
                route: self.started.elapsed(),
                ..Timing::default()
            }),
            ..AccountView::default()
        };
        describe(&mut headers, status, &observer.region, &account);
        access.note_hit();
        let endpoint = &entry.origin.endpoint;
        let took = access.account_for(endpoint, status.as_u16(), &account, None);
        observer.count_hit(&account, took);
        headers.insert(&X_REQUEST_ID, access.id);
        let body = match coding {
            Some(coding) => coding.apply(&mut headers, body, &entry.forms),
            None => Either::Left(Full::new(body)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Whether a request needs more than an answer for all clients.
fn states_something(headers: &HeaderMap) -> bool {
    // One pass: most requests have few fields, so it costs less than looking each of these up.
    headers.keys().any(|name| {
        name == AUTHORIZATION
            || name == IF_MATCH
            || name == IF_UNMODIFIED_SINCE
            || *name == X_CONSISTENCY
            || *name == X_CONSISTENCY_TOKEN
            || (name == COOKIE && has_session_cookie(headers.get_all(COOKIE)))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_request_states_something_whatever_stands_before_it() {
        let headers = |fields: &[(&str, &str)]| {
            let field = |(name, value): &(&str, &str)| {
                (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
            };
            fields.iter().map(field).collect::<HeaderMap>()
        };
        let plain = [("host", "x"), ("accept", "*/*"), ("cookie", "theme=dark")];
        assert!(!states_something(&headers(&plain)));
        for stated in [
            ("authorization", "Bearer x"),
            ("if-match", "*"),
            ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("x-consistency", "strong"),
            ("x-consistency-token", "x"),
            ("cookie", "__Host-tidegate-session=x"),
        ] {
            let fields = [&plain[..], &[stated]].concat();
            assert!(states_something(&headers(&fields)), "{stated:?}");
        }
    }
}
