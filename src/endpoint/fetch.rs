//! The requests that the response cache may answer.

use std::sync::Arc;

use http::Uri;
use http::request::Parts;
use tokio::time::{Duration, Instant};

use super::hand_on::Journey;
use super::{Endpoint, Frontend, Reached, SharedBy};
use crate::cache::{
    CacheKey, CachedRequest, Entry, Fetch, FlightScope, Missed, Origin, SharedRequest,
};
use crate::http::{Account, CacheStatus, Hop, Problem, Query, Routed, Timing};
use crate::regions::RegionRoute;
use crate::sql::shared_part;
use tidegate_policy::Decision;
use tidegate_telemetry::EndpointMetrics;

/// One request to the backend of an endpoint.
pub(super) struct EndpointFetch {
    frontend: Arc<Frontend>,
    endpoint: Arc<Endpoint>,
    shared: SharedRequest,
}

impl Fetch for EndpointFetch {
    fn endpoint(&self) -> &EndpointMetrics {
        &self.endpoint.metrics
    }

    fn routed(&self) -> Option<Arc<Routed>> {
        let route = self.shared.route.as_ref()?;
        Some(Arc::clone(&route.routed))
    }

    async fn fetch(
        &self,
        timing: &mut Timing,
        routed: &mut Option<Arc<Routed>>,
    ) -> Result<Arc<Entry<Origin>>, Missed> {
        let frontend = &*self.frontend;
        let asked_at = Instant::now();
        let cache = frontend.cache.as_ref();
        let bytes_max = cache.map_or(0, |cache| cache.entry_bytes_max());
        let route = self.shared.route.as_deref();
        if route.is_some() {
            *routed = self.routed();
        }
        let fetched = {
            let _permit = frontend.shedding.enter().map_err(Problem::from)?;
            let (backend, time) = (&self.endpoint.backend, frontend.server.request_deadline);
            let journey = Journey::by(frontend, &self.endpoint, route);
            match (journey, routed.as_mut()) {
                (Some(journey), Some(routed)) => {
                    let fetched = journey.fetch(&self.shared, bytes_max, time, timing, routed);
                    Box::pin(fetched).await
                }
                _ => {
                    let backends = &frontend.backends;
                    let fetched = backend.fetch(backends, &self.shared, bytes_max, time, timing);
                    fetched.await
                }
            }
        };
        if let (Some(route), Some(routed)) = (route, routed.as_ref()) {
            let failed = match &fetched {
                Ok(fetched) => fetched.status.is_server_error(),
                Err(Missed::Problem(problem)) => problem.status().is_server_error(),
                Err(Missed::Failed(_)) => true,
                Err(Missed::NotForAll) => false,
            };
            route.acted_upon(routed, asked_at.elapsed(), failed);
        }
        let fetched = fetched?;
        let endpoint = &self.endpoint.metrics;
        let compression = &frontend.compression;
        let entry = fetched.into_entry(&self.shared, endpoint, asked_at, compression);
        entry.await
    }
}

/// Returns the request as the response cache needs it, if the cache may answer it.
///
/// # Errors
/// `invalid-parameter` if the query string cannot be parsed.
pub(super) fn cached_request<'a>(
    frontend: &'a Arc<Frontend>,
    revision: u64,
    reached: &Reached<'_>,
    (decision, route): (&Decision, &Option<Arc<RegionRoute>>),
    head: &Parts,
    account: &mut Account,
) -> Result<Option<CachedRequest<'a, EndpointFetch>>, Problem> {
    let Some(cache) = &frontend.cache else {
        return Ok(None);
    };
    // What may be served in some regions alone is fetched for no request of another policy.
    if route.as_ref().is_some_and(|route| route.is_bound) {
        account.cache = decision.vary.then_some(CacheStatus::Bypass);
        return Ok(None);
    }
    let Ok(lifetime) = reached.lifetime(decision, &head.headers) else {
        account.cache = decision.vary.then_some(CacheStatus::Bypass);
        return Ok(None);
    };
    let hop = head.extensions.get::<Hop>();
    let Some((key, uri)) = key(revision, reached, &head.uri)? else {
        return Ok(None);
    };
    let fetch = EndpointFetch {
        frontend: Arc::clone(frontend),
        endpoint: Arc::clone(&reached.endpoint),
        shared: SharedRequest {
            route: route.clone(),
            decision: decision.clone(),
            path_values: reached.path_values.clone(),
            uri,
            lifetime,
        },
    };
    Ok(Some(CachedRequest {
        cache,
        key,
        scope: match hop {
            Some(_) => FlightScope::HandedOn,
            None => FlightScope::Entered,
        },
        fetch: Arc::new(fetch),
        started: Instant::now(),
        time: time_for(hop, frontend.server.request_deadline),
    }))
}

/// Returns how long a request may take.
pub(super) fn time_for(hop: Option<&Hop>, deadline: Duration) -> Duration {
    hop.map_or(deadline, |hop| hop.time.min(deadline))
}

/// The key of a request's answer, and what of the request is sent for it; `None` if the answer cannot be
/// stored.
fn key(
    revision: u64,
    reached: &Reached<'_>,
    uri: &Uri,
) -> Result<Option<(CacheKey, Uri)>, Problem> {
    let (path, query) = (&*reached.path, uri.query());
    match reached.endpoint.backend.shared_by() {
        Some(SharedBy::Statement(target)) => {
            let query = Query::parse(query.unwrap_or_default())?;
            let Some(part) = shared_part(target, (uri, path), &query)? else {
                return Ok(None);
            };
            let parameters = part.parameters.iter();
            let parameters = parameters.map(|(name, value)| (*name, &**value));
            let key = CacheKey::new(revision, path, parameters);
            Ok(key.map(|key| (key, part.uri)))
        }
        Some(SharedBy::Query) => {
            let whole = query.map(|query| ("", query));
            let key = CacheKey::new(revision, path, whole);
            Ok(key.map(|key| (key, uri.clone())))
        }
        None => Ok(None),
    }
}
