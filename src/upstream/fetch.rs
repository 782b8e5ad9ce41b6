//! Fetches an application's answer for the response cache, if its endpoint declares that only path
//! and query determine it.
//!
//! The request carries no field of any client, so that no client can influence the answers that
//! others get.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::FutureExt;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, LOCATION, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::time::{Duration, Instant, timeout_at};

use super::exchange::exchange;
use super::field_names::FieldNames;
use super::forward::served;
use super::{Outgoing, Patience, Proxy, Upstream, UpstreamError, request_fields, response_fields};
use crate::cache::{Fetched, FetchedBody, Missed, SharedRequest};
use crate::http::{Problem, Served, Timing};
use tidegate_model::normalise;
use tidegate_policy::{Decision, Reuse, is_no_transform};

/// Most bytes of the stored fields, which take room in addition to the body.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// With this age no answer is fresh (RFC 9111 section 1.2.2).
const AGE_MAX: u64 = 1 << 32;

/// Fields that are set again on every answer, or that applied to a single transfer only.
static NOT_KEPT: [HeaderName; 10] = [
    ACCEPT_RANGES,
    AGE,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    DATE,
    ETAG,
    SET_COOKIE,
    HeaderName::from_static("server-timing"),
    // Of the gateway of another region.
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("x-request-id"),
];

impl Proxy {
    /// Requests from the application an answer that the response cache may store, of at most
    /// `bytes_max`, for an endpoint with this path template; its body has to arrive within `time`.
    ///
    /// # Errors
    /// Why there is nothing to store.
    pub async fn fetch(
        &self,
        upstream: &Arc<Upstream>,
        (template, shared): (&Arc<str>, &SharedRequest),
        bytes_max: usize,
        time: Duration,
        timing: &mut Timing,
    ) -> Result<Fetched, Missed> {
        let asked_at = Instant::now();
        let mut outgoing = self.shared_outgoing(template, shared)?;
        outgoing.take_route(shared.route.clone());
        let patience = Patience {
            time_left: shared.route.is_some().then_some(time),
            ..self.patience
        };
        let answered = exchange(upstream, &outgoing, None, patience).await;
        timing.upstream = asked_at.elapsed();
        let answered = answered.map_err(Problem::from)?;
        let said = answered.response.headers();
        let staleness = Some(stated_age(said));
        let served = served(upstream, &answered);
        let location = response_fields::location(answered.node(), said);
        let answer = KeptAnswer {
            response: answered.into_response(),
            served,
            staleness,
        };
        let limits = (bytes_max, asked_at + time);
        let mut kept = keep(&shared.decision, answer, limits)?;
        if let Some(location) = location {
            kept.headers.insert(LOCATION, location);
        }
        Ok(kept)
    }

    fn shared_outgoing(
        &self,
        template: &Arc<str>,
        shared: &SharedRequest,
    ) -> Result<Outgoing, Problem> {
        let decision = &shared.decision;
        Ok(Outgoing {
            template: Arc::clone(template),
            method: Method::GET,
            path: normalise(shared.uri.path())?.into_owned(),
            query: shared.uri.query().map(str::to_owned),
            headers: request_fields::shared_fields(self, decision),
            wants_websocket: false,
            replica_regions: self.database.replica_regions(decision, true),
            local_region: self.region.clone(),
            route: None,
        })
    }
}

/// An answer that may be for all clients.
pub struct KeptAnswer {
    /// The answer.
    pub response: Response,
    /// What has served it.
    pub served: Served,
    /// Upper bound of its staleness; `None` if nothing is proven.
    pub staleness: Option<Duration>,
}

/// Prepares an answer for the response cache: of at most so many bytes, which have to arrive until then.
///
/// # Errors
/// [`Missed::NotForAll`] if it may not be kept.
pub fn keep(
    decision: &Decision,
    answer: KeptAnswer,
    (bytes_max, until): (usize, Instant),
) -> Result<Fetched, Missed> {
    let (head, body) = answer.response.into_parts();
    let (status, mut headers) = (head.status, head.headers);
    // A failure is not given to other clients, and does not invalidate the stored answer.
    if !status.is_server_error() && !is_for_all(&headers) {
        return Err(Missed::NotForAll);
    }
    let no_transform = is_no_transform(&headers);
    response_fields::rewrite(&mut headers, status, decision);
    FieldNames::of(&headers).remove(&mut headers, &NOT_KEPT);
    let header_bytes = bytes_of(&headers);
    if header_bytes > HEADER_BYTES_MAX {
        return Err(Missed::NotForAll);
    }
    Ok(Fetched {
        served: answer.served,
        status,
        headers,
        header_bytes,
        no_transform,
        staleness: answer.staleness,
        body: FetchedBody::Coming(in_time(body, bytes_max, until).boxed()),
    })
}

/// Reads a body until a deadline.
async fn in_time(body: Body, bytes_max: usize, deadline: Instant) -> Result<Bytes, Missed> {
    match timeout_at(deadline, whole(body, bytes_max)).await {
        Ok(body) => body,
        Err(_elapsed) => Err(Problem::from(UpstreamError::Timeout).into()),
    }
}

/// Whether the application permits storing: the answer varies only by the encoding, which is not
/// negotiated here, and caches may reuse it.
fn is_for_all(headers: &HeaderMap) -> bool {
    let varies_by_encoding_alone = {
        let fields = headers.get_all(VARY).into_iter();
        let mut names = fields.flat_map(|field| field.to_str().unwrap_or("*").split(','));
        names.all(|name| name.trim().eq_ignore_ascii_case("accept-encoding"))
    };
    varies_by_encoding_alone && Reuse::of(headers, SystemTime::now()) == Reuse::AsDeclared
}

/// How long caches behind the gateway have kept the answer (RFC 9111 section 5.1).
pub fn stated_age(headers: &HeaderMap) -> Duration {
    let said = headers.get(AGE).and_then(|age| age.to_str().ok());
    let plain = said.filter(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
    // A number that is too long is too great.
    let seconds = plain.map_or(0, |it| it.parse().unwrap_or(AGE_MAX));
    Duration::from_secs(seconds.min(AGE_MAX))
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// Reads a body, unless it is too large to be stored.
async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Missed> {
    let least = usize::try_from(body.size_hint().lower());
    if least.map_or(true, |least| least > bytes_max) {
        return Err(Missed::NotForAll);
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Missed::NotForAll),
        Err(error) => {
            tracing::debug!(%error, "an answer to keep broke off");
            Err(Problem::from(UpstreamError::Unreachable(None)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_age_that_is_too_great_to_be_counted_is_not_taken_for_none() {
        for (said, expected) in [
            ("7", 7),
            ("4294967296", AGE_MAX),
            ("18446744073709551615", AGE_MAX),
            ("18446744073709551616", AGE_MAX),
            ("-1", 0),
            ("", 0),
        ] {
            let value = HeaderValue::from_static(said);
            let age = stated_age(&HeaderMap::from_iter([(AGE, value)]));
            assert_eq!(age, Duration::from_secs(expected), "{said}");
        }
    }
}
