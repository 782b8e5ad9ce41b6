//! A request that may be sent to several regions.

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, timeout};

use super::{Backend, Call};
use crate::http::{Problem, ServerSettings};
use crate::tunnels::{Parcel, Payload};
use crate::upstream::{Upload, UpstreamError, requested_host, wants_websocket};
use tidegate_model::X_CONSISTENCY_TOKEN;

/// The longest body that is read before a request is handed on, so that it can be sent again. Longer
/// ones are passed on as they arrive.
const KEPT_BYTES_MAX: u64 = 64 * 1024;

/// A request that may be sent to several regions.
pub(super) struct Trip {
    pub(super) parcel: Parcel,
    reads_json: bool,
    /// Whether this gateway's own backend was asked.
    pub(super) was_here: bool,
    /// In how many regions it has failed that it may have reached.
    pub(super) failed: usize,
    /// Whether a region has not served it for want of a primary.
    pub(super) needs_primary: bool,
    /// All but the body.
    pub(super) rest: Call,
}

impl Trip {
    /// Prepares it; `budget` is the share of a region's requests that may be tried elsewhere, in millionths.
    ///
    /// # Errors
    /// If its body is too large, too slow or broken.
    pub(super) async fn begin(
        call: Call,
        server: &ServerSettings,
        backend: &Backend,
        budget: u32,
    ) -> Result<Self, Problem> {
        let Call {
            head,
            body,
            json,
            path,
            ..
        } = call;
        let reads_json = json.is_some();
        let payload = match json {
            Some(json) => Payload::Whole(json),
            None => payload(body, server).await?,
        };
        // A statement never changes the protocol.
        let may_upgrade = matches!(backend, Backend::Upstream { .. });
        let websocket = (may_upgrade && wants_websocket(&head, matches!(payload, Payload::None)))
            .then(|| head.extensions.get::<OnUpgrade>().cloned())
            .flatten();
        let parcel = Parcel {
            method: head.method.clone(),
            query: head.uri.query().map(str::to_owned),
            host: requested_host(&head),
            // Made when it is first handed on: most requests are not.
            headers: HeaderMap::new(),
            may_be_probed: websocket.is_none()
                && may_be_probed(&head.method, &head.headers, head.uri.query(), &payload),
            websocket,
            payload,
            time: backend.time(server.request_deadline),
            started: Instant::now(),
            budget,
            path: path.clone(),
        };
        Ok(Self {
            parcel,
            reads_json,
            was_here: false,
            failed: 0,
            needs_primary: false,
            rest: Call {
                head,
                body: Body::empty(),
                json: None,
                path,
                ..call
            },
        })
    }

    /// Returns the request for this gateway's own backend.
    pub(super) fn call(&self) -> Call {
        let (body, json) = match &self.parcel.payload {
            Payload::None => (Body::empty(), self.reads_json.then(Bytes::new)),
            Payload::Whole(bytes) if self.reads_json => (Body::empty(), Some(bytes.clone())),
            Payload::Whole(bytes) => (Body::from(bytes.clone()), None),
            Payload::Stream(upload) => (upload.take_back().unwrap_or_default(), None),
        };
        let time_left = self.parcel.time_left();
        Call {
            body,
            json,
            time: time_left.min(self.rest.time),
            time_left: Some(time_left),
            ..self.rest.without_body()
        }
    }
}

/// Reads what may be sent again, and passes on what may not as it arrives.
async fn payload(body: Body, server: &ServerSettings) -> Result<Payload, Problem> {
    let hint = body.size_hint();
    if body.is_end_stream() {
        return Ok(Payload::None);
    }
    let bytes_max = server.body_bytes_max;
    if hint.lower() > bytes_max as u64 {
        return Err(UpstreamError::BodyTooLarge(bytes_max).into());
    }
    if is_kept(&body) {
        let whole = timeout(server.body_timeout, body.collect()).await;
        let whole = whole.map_err(|_elapsed| UpstreamError::BodyTooSlow)?;
        let whole = whole.map_err(|_broken| UpstreamError::BodyBroken)?;
        return Ok(Payload::Whole(whole.to_bytes()));
    }
    let until = Instant::now() + server.body_timeout;
    Ok(Payload::Stream(Upload::new(body, bytes_max, until)))
}

/// Whether a body is read before its request is sent, so that it can be sent again.
pub(super) fn is_kept(body: &Body) -> bool {
    let upper = body.size_hint().upper();
    body.is_end_stream() || upper.is_some_and(|upper| upper <= KEPT_BYTES_MAX)
}

/// Whether a probe may ask for the same: nothing of it is one client's.
fn may_be_probed(
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    payload: &Payload,
) -> bool {
    let of_client = [AUTHORIZATION, COOKIE, X_CONSISTENCY_TOKEN.clone()];
    *method == Method::GET
        && query.is_none()
        && matches!(payload, Payload::None)
        && !of_client.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_are_nobodys_are_asked_again_by_probes() {
        let field = |name: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), "x".parse().unwrap())])
        };
        let may = |headers: &HeaderMap, query| {
            may_be_probed(&Method::GET, headers, query, &Payload::None)
        };
        assert!(may(&field("accept"), None));
        assert!(!may(&HeaderMap::new(), Some("a=1")));
        for name in ["authorization", "cookie", "x-consistency-token"] {
            assert!(!may(&field(name), None), "{name}");
        }
        let none = HeaderMap::new();
        assert!(!may_be_probed(&Method::POST, &none, None, &Payload::None));
        let body = Payload::Whole(Bytes::from_static(b"x"));
        assert!(!may_be_probed(&Method::GET, &none, None, &body));
    }
}
