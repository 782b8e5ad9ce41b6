//! One stored answer of an application.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    EXPIRES, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::{Duration, Instant};

use crate::http::{CompressedForms, NotSent, Served, StoredBody, age_in_header};
use tidegate_policy::http_cache::{ReuseTerms, Selection, Slice, not_modified, slice};

/// The pause after a refresh that has failed: the `Retry-After` of a 503.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Fields of a stored answer that a 416 in its place does not have.
static OF_THE_WHOLE: [HeaderName; 7] = [
    AGE,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    HeaderName::from_static("cdn-cache-control"),
];

/// One answer, with everything that is needed to serve it again.
pub struct StoredAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those that are set on each answer.
    pub headers: HeaderMap,
    /// Its body, in its own memory.
    pub body: Bytes,
    /// On what terms it is used.
    pub terms: ReuseTerms,
    /// Which requests it is for.
    pub selection: Selection,
    /// The node that made it.
    pub served: Option<Served>,
    /// Taken before the request to the application was sent, so that the round trip counts as age.
    pub asked_at: Instant,
    /// The body in other codings.
    pub(super) forms: Arc<CompressedForms>,
    /// The bytes that these may take.
    pub(super) room: usize,
    /// Whether a request asks for a newer one.
    refresh: Mutex<Refresh>,
}

/// What is known about newer answers.
#[derive(Default)]
enum Refresh {
    /// Nothing.
    #[default]
    Idle,
    /// A request is under way.
    Running,
    /// A request has failed.
    Failed(Instant),
}

impl StoredAnswer {
    /// Makes an answer that nothing is known about yet.
    pub fn new(
        (status, headers, body): (StatusCode, HeaderMap, Bytes),
        (terms, selection): (ReuseTerms, Selection),
        served: Option<Served>,
        asked_at: Instant,
    ) -> Self {
        Self {
            status,
            headers,
            body,
            terms,
            selection,
            served,
            asked_at,
            forms: Arc::default(),
            room: 0,
            refresh: Mutex::default(),
        }
    }

    /// The same answer with other fields, for one client.
    #[must_use]
    pub fn with_headers(&self, mut headers: HeaderMap) -> Self {
        headers.remove(AGE);
        let content = (self.status, headers, self.body.clone());
        let rules = (self.terms, self.selection.clone());
        Self {
            forms: Arc::clone(&self.forms),
            room: self.room,
            ..Self::new(content, rules, self.served.clone(), Instant::now())
        }
    }

    /// Its age.
    pub fn age(&self, now: Instant) -> Duration {
        self.terms.age + now.saturating_duration_since(self.asked_at)
    }

    /// The whole seconds for which it is still fresh; negative once it is stale.
    pub fn ttl(&self, now: Instant) -> i64 {
        let seconds = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let (fresh, age) = (self.terms.fresh, self.age(now));
        match fresh.checked_sub(age) {
            Some(left) => seconds(left.as_secs()),
            None => -seconds(age_in_header(age - fresh)),
        }
    }

    /// Takes the right and the duty to refresh it: one request at a time has it, and none has it for a
    /// moment after a failure.
    pub fn take_refresh(&self, now: Instant) -> bool {
        let mut refresh = self.refresh.lock().unwrap_or_else(PoisonError::into_inner);
        let may = match *refresh {
            Refresh::Idle => true,
            Refresh::Running => false,
            Refresh::Failed(at) => now.saturating_duration_since(at) >= RETRY_PAUSE,
        };
        if may {
            *refresh = Refresh::Running;
        }
        may
    }

    /// Gives it back: a newer answer has replaced this one, or there is none.
    pub fn end_refresh(&self, now: Instant) {
        *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Refresh::Failed(now);
    }

    /// Answers a request that it is for: whole, in part, or with 304 if the client has it. Only GET has a
    /// range (RFC 9110 section 14.2).
    pub fn respond(&self, (method, request): (&Method, &HeaderMap), now: Instant) -> Response {
        let is_unchanged = self.status.is_success() && not_modified(request, &self.headers);
        let mut headers = self.headers.clone();
        headers.insert(AGE, HeaderValue::from(age_in_header(self.age(now))));
        let part = match *method {
            Method::GET => slice(request, self.status, &self.headers, self.body.len()),
            _ => Slice::Whole,
        };
        let (status, body) = match part {
            _ if is_unchanged => {
                for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING] {
                    headers.remove(name);
                }
                (StatusCode::NOT_MODIFIED, Bytes::new())
            }
            Slice::Whole => (self.status, self.body.clone()),
            Slice::Part(part) => {
                let (last, length) = (part.end - 1, self.body.len());
                let range = format!("bytes {}-{last}/{length}", part.start);
                headers.extend(HeaderValue::try_from(range).map(|it| (CONTENT_RANGE, it)));
                (StatusCode::PARTIAL_CONTENT, self.body.slice(part))
            }
            Slice::Unsatisfiable => {
                let range = format!("bytes */{}", self.body.len());
                headers.extend(HeaderValue::try_from(range).map(|it| (CONTENT_RANGE, it)));
                // It says nothing about the answer that others get.
                for name in &OF_THE_WHOLE {
                    headers.remove(name);
                }
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let extensions = response.extensions_mut();
        if status == StatusCode::NOT_MODIFIED {
            extensions.insert(NotSent::new(self.body.len(), &self.headers));
        } else if self.room > 0 && status == self.status {
            extensions.insert(StoredBody {
                body: self.body.clone(),
                forms: Arc::clone(&self.forms),
            });
        }
        response
    }

    /// The bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.room + bytes_of(&self.headers) + self.selection.bytes()
    }
}

/// The bytes of fields, with their places in the table.
pub(super) fn bytes_of(headers: &HeaderMap) -> usize {
    const FIELD_BYTES: usize = 64;
    let length = |(name, value): (&http::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + FIELD_BYTES
    };
    headers.iter().map(length).sum()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// An answer that is fresh for a minute.
    pub(crate) fn terms() -> ReuseTerms {
        ReuseTerms {
            fresh: Duration::from_secs(60),
            age: Duration::ZERO,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            must_revalidate: false,
            no_cache: false,
        }
    }

    /// One to a request.
    pub(crate) fn answer(request: &HeaderMap, headers: HeaderMap, body: Bytes) -> StoredAnswer {
        let selection = Selection::of(request, &headers).unwrap();
        let content = (StatusCode::OK, headers, body);
        StoredAnswer::new(content, (terms(), selection), None, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: HeaderMap) -> StoredAnswer {
        testing::answer(&HeaderMap::new(), headers, Bytes::from_static(b"12345"))
    }

    fn asking_for(range: &'static str) -> HeaderMap {
        let mut request = HeaderMap::new();
        request.insert("range", HeaderValue::from_static(range));
        request
    }

    #[test]
    fn only_get_gets_a_part() {
        let answer = answer(HeaderMap::new());
        for range in ["bytes=0-1", "bytes=9-"] {
            let request = asking_for(range);
            let got = |method| answer.respond((&method, &request), Instant::now());
            let head = got(Method::HEAD);
            assert_eq!(head.status(), StatusCode::OK, "{range}");
            assert!(!head.headers().contains_key(CONTENT_RANGE), "{range}");
            assert!(got(Method::GET).headers().contains_key(CONTENT_RANGE));
        }
    }

    #[test]
    fn a_range_beyond_the_answer_gets_a_416_that_no_cache_keeps() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cache-control", "public, max-age=60"),
            ("cdn-cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("expires", "Wed, 01 Jan 2040 00:00:00 GMT"),
            ("content-type", "text/plain"),
            ("x-other", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let (answer, request) = (answer(headers), asking_for("bytes=9-"));
        let refused = answer.respond((&Method::GET, &request), Instant::now());
        assert_eq!(refused.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let mut names: Vec<_> = refused.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-range", "x-other"]);
        assert_eq!(refused.headers()["cache-control"], "no-store");
        assert_eq!(refused.headers()["content-range"], "bytes */5");
    }
}
