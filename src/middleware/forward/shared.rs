//! An application's answer that the response cache keeps, where its endpoint says that path and query
//! alone decide on it.
//!
//! The request carries no field of any client's, so that nobody can shape what others are given.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, LOCATION, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::time::{Duration, Instant, timeout_at};

use super::{decided, patience, request, response, served};
use crate::cache::Entry;
use crate::http::Problem;
use crate::middleware::answer::Timing;
use crate::middleware::fetch::{Fetch, Missed};
use crate::middleware::origin::{FromApplication, Origin, Source};
use crate::upstream::{Answered, Outgoing, Upstream, UpstreamError};
use tidegate_model::normalise;
use tidegate_policy::Reuse;

/// Most bytes of the fields that are kept; they take room beside the body.
const FIELD_BYTES_MAX: usize = 4 << 10;

/// What is said anew of every answer, or was true of one transfer alone.
static NOT_KEPT: [HeaderName; 8] = [
    ACCEPT_RANGES,
    AGE,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    DATE,
    ETAG,
    SET_COOKIE,
    HeaderName::from_static("server-timing"),
];

/// Asks the application, and waits for the whole of its answer until `request_deadline`.
pub(in crate::middleware) async fn shared_answer(
    fetch: &Fetch,
    upstream: &Arc<Upstream>,
    timing: &mut Timing,
) -> Result<Arc<Entry<Origin>>, Missed> {
    let asked_at = Instant::now();
    let answered = ask(fetch, upstream).await;
    timing.upstream = asked_at.elapsed();
    let answered = answered?;
    let told = answered.response.headers();
    let failed = answered.response.status().is_server_error();
    // A failure is given to nobody else, and does not end what is stored.
    if !failed && !is_for_all(told) {
        return Err(Missed::NotForAll);
    }
    let staleness = Some(age(told));
    let (application, body) = take(fetch, upstream, answered)?;
    let deadline = asked_at + fetch.services.server.request_deadline;
    let bytes_max = fetch
        .services
        .cache
        .as_ref()
        .map_or(0, |it| it.entry_bytes_max());
    let body = match timeout_at(deadline, whole(body, bytes_max)).await {
        Ok(body) => body?,
        Err(_elapsed) => return Err(Problem::from(UpstreamError::Timeout).into()),
    };
    let field_bytes = bytes_of(&application.headers);
    let origin = fetch.origin(Source::Application(Box::new(application)));
    let mut entry = Entry::new(&body, origin, fetch.lifetime, asked_at, staleness);
    entry.origin_bytes = field_bytes;
    match failed {
        true => Err(Missed::Failed(Arc::new(entry))),
        false => Ok(Arc::new(entry)),
    }
}

async fn ask(fetch: &Fetch, upstream: &Arc<Upstream>) -> Result<Answered, Problem> {
    let (services, decision) = (&fetch.services, &fetch.decision);
    let outgoing = Outgoing {
        method: Method::GET,
        path: normalise(fetch.uri.path())?.into_owned(),
        query: fetch.uri.query().map(str::to_owned),
        headers: request::shared_fields(services, decision),
        wants_websocket: false,
        replica_regions: decided::replica_regions(services, decision, true),
        local_region: services.region.clone(),
    };
    let _place = services.shedding.enter()?;
    let answered = upstream.exchange(outgoing, None, patience(&services.server));
    Ok(answered.await?)
}

/// The head of the answer as it is kept, and the body yet to come.
fn take(
    fetch: &Fetch,
    upstream: &Upstream,
    answered: Answered,
) -> Result<(FromApplication, Body), Missed> {
    let served = served(upstream, &answered);
    let location = response::location(answered.node(), answered.response.headers());
    let (head, body) = answered.into_response().into_parts();
    let (status, mut headers) = (head.status, head.headers);
    response::rewrite(&fetch.services, &mut headers, status, &fetch.decision);
    for name in &NOT_KEPT {
        headers.remove(name);
    }
    if let Some(location) = location {
        headers.insert(LOCATION, location);
    }
    let application = FromApplication {
        served,
        status,
        headers,
    };
    match bytes_of(&application.headers) <= FIELD_BYTES_MAX {
        true => Ok((application, body)),
        false => Err(Missed::NotForAll),
    }
}

/// Whether the application does not object: it varies by nothing that is not asked of it here, and
/// lets caches reuse the answer.
fn is_for_all(headers: &HeaderMap) -> bool {
    let varies_by_encoding_alone = {
        let fields = headers.get_all(VARY).into_iter();
        let mut names = fields.flat_map(|field| field.to_str().unwrap_or("*").split(','));
        names.all(|name| name.trim().eq_ignore_ascii_case("accept-encoding"))
    };
    varies_by_encoding_alone && Reuse::of(headers, SystemTime::now()) == Reuse::AsDeclared
}

/// How long caches behind the gateway have kept the answer (RFC 9111 section 5.1).
fn age(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// Reads a body, unless it is too large to be kept.
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
