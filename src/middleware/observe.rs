//! The outermost layer: request id, access line, metrics, and the bodies of problems.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::answer::{Account, describe};
use super::request_id::{X_REQUEST_ID, request_id, trace_id};
use super::{PROBE_PATHS, Services};
use crate::consistency::Level;
use crate::error::Problem;
use crate::policy::NO_STORE_PRIVATE;
use crate::target::Endpoint;
use crate::telemetry::names;

/// The status under which a request counts whose client left before the answer, as in nginx.
const CLIENT_GONE: u16 = 499;

/// Where a request leaves word of the endpoint it reached, should it never be answered.
#[derive(Clone, Default)]
pub(super) struct EndpointSeen(Arc<OnceLock<Arc<Endpoint>>>);

impl EndpointSeen {
    pub(super) fn note(&self, endpoint: &Arc<Endpoint>) {
        // A request reaches one endpoint.
        let _first = self.0.set(Arc::clone(endpoint));
    }
}

/// What the access line says of the request itself.
struct Asked {
    id: HeaderValue,
    trace: Option<String>,
    method: &'static str,
    probe: Option<&'static str>,
    endpoint: EndpointSeen,
    started: Instant,
}

/// Accounts for a request that is dropped before its answer; nobody else would.
struct Unanswered<'a>(Option<&'a Asked>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(asked) = self.0 {
            count(asked, CLIENT_GONE, None);
            log(asked, CLIENT_GONE, None, None);
        }
    }
}

/// Observes one request.
pub(super) async fn observe(
    State(services): State<Arc<Services>>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked {
        id: request_id(request.headers()),
        trace: trace_id(request.headers()).map(str::to_owned),
        method: method_label(request.method()),
        probe: probe_label(request.uri().path()),
        endpoint: EndpointSeen::default(),
        started: Instant::now(),
    };
    request.extensions_mut().insert(asked.endpoint.clone());
    request
        .headers_mut()
        .insert(&X_REQUEST_ID, asked.id.clone());
    let mut unanswered = Unanswered(Some(&asked));
    let mut response = next.run(request).await;
    unanswered.0 = None;
    let account = response.extensions_mut().remove::<Account>();
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    let status = response.status();
    if let Some(problem) = &problem {
        let id = asked.id.to_str().unwrap_or_default();
        *response.body_mut() = Body::from(problem.body(id));
        response
            .headers_mut()
            .insert(CACHE_CONTROL, NO_STORE_PRIVATE.clone());
        match problem.shed_reason() {
            Some(reason) => services.shedding.note(reason),
            None => log_cause(id, problem),
        }
    }
    describe(
        response.headers_mut(),
        status,
        &services.region,
        account.as_ref(),
    );
    response
        .headers_mut()
        .insert(&X_REQUEST_ID, asked.id.clone());
    count(&asked, status.as_u16(), account.as_ref());
    let note = account.as_ref().and_then(|account| account.cache.as_ref());
    if let (Some(cache), Some(note)) = (&services.cache, note) {
        cache.count(note.result);
    }
    log(
        &asked,
        status.as_u16(),
        account.as_ref(),
        problem.as_deref(),
    );
    response
}

/// The cause of a server fault, once.
fn log_cause(id: &str, problem: &Problem) {
    if !problem.is_server_fault() {
        return;
    }
    let cause = problem.cause();
    let kind = problem.type_name();
    tracing::warn!(request_id = id, kind, %problem, cause, "a request failed");
}

fn count(asked: &Asked, status: u16, account: Option<&Account>) {
    let endpoint = endpoint_label(asked);
    let labels = [
        ("endpoint", endpoint.clone()),
        ("method", asked.method.to_owned()),
        ("status", status.to_string()),
    ];
    metrics::counter!(names::REQUESTS, &labels).increment(1);
    metrics::histogram!(names::REQUEST_DURATION, "endpoint" => endpoint)
        .record(asked.started.elapsed().as_secs_f64());
    let decided = account.filter(|account| account.asked_a_node());
    if let Some((level, served)) = decided.and_then(|a| Some((a.level()?, a.served.as_ref()?))) {
        let labels = [
            ("level", level.to_string()),
            ("node", served.node.to_string()),
            ("reason", served.reason.to_string()),
        ];
        metrics::counter!(names::DECISIONS, &labels).increment(1);
    }
}

fn log(asked: &Asked, status: u16, account: Option<&Account>, problem: Option<&Problem>) {
    let served = account.and_then(|account| account.served.as_ref());
    let upstream = account.and_then(|account| account.upstream.as_ref());
    let started_trace = account.and_then(|account| account.trace.as_deref());
    let node = served.map(|served| served.node.as_str());
    let timing = account.map(|account| account.timing).unwrap_or_default();
    tracing::info!(
        target: "tidegate::access",
        request_id = asked.id.to_str().unwrap_or_default(),
        trace_id = asked.trace.as_deref().or(started_trace),
        method = asked.method,
        endpoint = endpoint_label(asked),
        status,
        problem = problem.map(Problem::type_name),
        level = account.and_then(Account::level).map(Level::as_str),
        upstream = upstream.map(|upstream| upstream.upstream.as_str()),
        node = node.or(upstream.map(|upstream| upstream.node.as_str())),
        reason = served.map(|served| served.reason.as_str()),
        cache = account.and_then(|account| account.cache.as_ref()).map(|cache| cache.result.as_str()),
        staleness_s = served.and_then(|served| served.staleness).map(|age| age.as_secs_f64()),
        route_ms = timing.route.as_secs_f64() * 1_000.0,
        wait_ms = timing.wait.as_secs_f64() * 1_000.0,
        db_ms = timing.db.as_secs_f64() * 1_000.0,
        upstream_ms = upstream.map(|_| timing.upstream.as_secs_f64() * 1_000.0),
        total_ms = asked.started.elapsed().as_secs_f64() * 1_000.0,
        "request"
    );
}

/// The endpoint's template: never anything a client chose.
fn endpoint_label(asked: &Asked) -> String {
    let endpoint = asked.endpoint.0.get();
    let template = endpoint.map(|endpoint| endpoint.template.as_str());
    template.or(asked.probe).unwrap_or("unmatched").to_owned()
}

fn probe_label(path: &str) -> Option<&'static str> {
    PROBE_PATHS.into_iter().find(|probe| *probe == path)
}

fn method_label(method: &Method) -> &'static str {
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
