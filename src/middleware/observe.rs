//! The outermost layer: request id, access line, metrics, and the bodies of problems.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::Instant;

use super::answer::{Account, Answered, Told, describe};
use super::request_id::{Trace, X_REQUEST_ID, request_id};
use super::{PROBE_PATHS, Services};
use crate::endpoint::Endpoint;
use crate::http::Problem;
use tidegate_model::Level;
use tidegate_policy::NO_STORE_PRIVATE;
use tidegate_telemetry::EndpointMetrics;

/// The status under which a request counts whose client left before the answer, as in nginx.
const CLIENT_GONE: u16 = 499;

/// Where a request leaves word of the endpoint it reached, should it never be answered.
#[derive(Default)]
pub(super) struct EndpointSeen(OnceLock<Arc<Endpoint>>);

impl EndpointSeen {
    pub(super) fn note(&self, endpoint: &Arc<Endpoint>) {
        // A request reaches one endpoint.
        let _first = self.0.set(Arc::clone(endpoint));
    }
}

/// What the access line says of the request itself.
pub(super) struct Asked {
    pub(super) id: HeaderValue,
    trace: Option<String>,
    method: &'static str,
    started: Instant,
}

impl Asked {
    pub(super) fn new(headers: &HeaderMap, method: &'static str, started: Instant) -> Self {
        let trace = || Trace::read(headers).map(|trace| trace.id.to_owned());
        Self {
            id: request_id(headers),
            trace: access_lines_are_wanted().then(trace).flatten(),
            method,
            started,
        }
    }

    /// Counts and logs the request.
    pub(super) fn account_for(
        &self,
        endpoint: &EndpointMetrics,
        status: u16,
        told: &Told<'_>,
        problem: Option<&Problem>,
    ) {
        let took = self.started.elapsed();
        endpoint.count(self.method, status, took);
        if access_lines_are_wanted() {
            self.log(endpoint.label(), status, told, problem, took);
        }
    }
}

/// Accounts for a request that is dropped before its answer; nobody else would.
struct Unanswered<'a>(Option<(&'a Asked, &'a EndpointSeen, Option<usize>)>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((asked, seen, probe)) = self.0 {
            let told = Told::default();
            asked.account_for(metrics_of(seen, probe), CLIENT_GONE, &told, None);
        }
    }
}

/// Observes one request.
pub(super) async fn observe(
    services: &Services,
    mut request: Request,
    answer: impl AsyncFnOnce(Request, &EndpointSeen) -> Answered,
) -> Response {
    let method = method_label(request.method());
    let asked = Asked::new(request.headers(), method, Instant::now());
    let probe = probe_index(request.uri().path());
    let headers = request.headers_mut();
    headers.insert(&X_REQUEST_ID, asked.id.clone());
    let seen = EndpointSeen::default();
    let mut unanswered = Unanswered(Some((&asked, &seen, probe)));
    let Answered {
        mut response,
        account,
    } = answer(request, &seen).await;
    unanswered.0 = None;
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    if let Some(problem) = &problem {
        write_problem(services, &asked.id, problem, &mut response);
    }
    let status = response.status();
    let told = account.as_ref().map(Account::told).unwrap_or_default();
    let headers = response.headers_mut();
    describe(headers, status, &services.region, &told);
    headers.insert(&X_REQUEST_ID, asked.id.clone());
    services.decisions.count(&told);
    if let (Some(cache), Some(note)) = (&services.cache, told.cache) {
        cache.count(note.result());
    }
    let endpoint = metrics_of(&seen, probe);
    asked.account_for(endpoint, status.as_u16(), &told, problem.as_deref());
    response
}

fn write_problem(
    services: &Services,
    id: &HeaderValue,
    problem: &Problem,
    response: &mut Response,
) {
    let id = id.to_str().unwrap_or_default();
    *response.body_mut() = Body::from(problem.body(id));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE_PRIVATE.clone());
    match problem.shed_reason() {
        Some(reason) => services.shedding.note(reason),
        None => log_cause(id, problem),
    }
}

/// The cause of a server fault, once.
fn log_cause(id: &str, problem: &Problem) {
    if !problem.is_server_fault() {
        return;
    }
    let cause = problem.cause();
    let kind = problem.kind().name();
    tracing::warn!(request_id = id, kind, %problem, cause, "a request failed");
}

fn access_lines_are_wanted() -> bool {
    tracing::enabled!(target: "tidegate::access", tracing::Level::INFO)
}

impl Asked {
    fn log(
        &self,
        endpoint: &str,
        status: u16,
        told: &Told<'_>,
        problem: Option<&Problem>,
        took: Duration,
    ) {
        let Told {
            served,
            upstream,
            timing,
            ..
        } = told;
        let node = served.map(|served| served.node.as_str());
        let timing = timing.unwrap_or_default();
        tracing::info!(
            target: "tidegate::access",
            request_id = self.id.to_str().unwrap_or_default(),
            trace_id = self.trace.as_deref().or(told.trace),
            method = self.method,
            endpoint,
            status,
            problem = problem.map(|problem| problem.kind().name()),
            level = told.level().map(Level::as_str),
            upstream = upstream.map(|upstream| upstream.upstream.as_str()),
            node = node.or(upstream.map(|upstream| upstream.node.as_str())),
            reason = served.map(|served| served.reason.as_str()),
            cache = told.cache.map(|note| note.result().as_str()),
            staleness_s = told.staleness.map(|age| age.as_secs_f64()),
            route_ms = timing.route.as_secs_f64() * 1_000.0,
            wait_ms = timing.wait.as_secs_f64() * 1_000.0,
            db_ms = timing.db.as_secs_f64() * 1_000.0,
            upstream_ms = upstream.map(|_| timing.upstream.as_secs_f64() * 1_000.0),
            total_ms = took.as_secs_f64() * 1_000.0,
            "request"
        );
    }
}

/// What a request without an endpoint is counted as.
static UNMATCHED: LazyLock<EndpointMetrics> = LazyLock::new(|| EndpointMetrics::new("unmatched"));
static PROBES: LazyLock<[EndpointMetrics; PROBE_PATHS.len()]> =
    LazyLock::new(|| PROBE_PATHS.map(EndpointMetrics::new));

/// The endpoint's template labels it: never anything a client chose.
fn metrics_of(seen: &EndpointSeen, probe: Option<usize>) -> &EndpointMetrics {
    let endpoint = seen.0.get().map(|endpoint| &endpoint.metrics);
    endpoint
        .or(probe.and_then(|probe| PROBES.get(probe)))
        .unwrap_or(&UNMATCHED)
}

/// Which of the probes a path is.
fn probe_index(path: &str) -> Option<usize> {
    PROBE_PATHS.iter().position(|probe| *probe == path)
}

pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
