//! The outermost layer: request id, access line, metrics, the request's span, and the bodies of problems.

use std::fmt::Display;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::Either;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::account::{Account, AccountView, Accounted, NodeRole, Served};
use super::answer::describe;
use super::cache_status::{CacheCounters, CacheResult};
use super::decision_counters::DecisionCounters;
use super::hop::Hop;
use super::kept_requests::{KeptRequest, KeptRequests};
use super::level_times::LevelTimes;
use super::problem::Problem;
use super::request_id::{Trace, X_REQUEST_ID, request_id};
use super::request_span::{Answer, RequestSpan};
use super::served_requests::ServedRequests;
use super::shedding::Shedding;
use tidegate_model::{Level, RegionId};
use tidegate_policy::{NO_STORE_PRIVATE, Reason};
use tidegate_telemetry::trace::{SpanContext, TraceId, Tracer};
use tidegate_telemetry::{ACCESS, EndpointMetrics};

/// The paths of the public listener that are answered from memory.
pub const PROBE_PATHS: [&str; 2] = ["/health/edge", "/health/live"];

/// The status counted for a request whose client disconnected before the answer, as in nginx.
pub(super) const CLIENT_GONE: u16 = 499;

/// The state that the outermost layer needs to account for every request.
pub struct Observer {
    /// The region of this process.
    pub region: RegionId,
    /// Counts the requests that are refused for lack of room.
    pub shedding: Arc<Shedding>,
    /// Counts the decisions.
    pub decisions: DecisionCounters,
    /// Counts the results of the response cache; `None` if the cache is turned off.
    pub cache: Option<CacheCounters>,
    /// Times the answers of each level.
    pub levels: LevelTimes,
    /// Counts what is served here; `None` without a fleet.
    pub served: Option<Arc<ServedRequests>>,
    /// Traces requests; `None` without a collector.
    pub tracer: Option<Arc<Tracer>>,
    /// Keeps the last requests; `None` if none are kept.
    pub kept: Option<Arc<KeptRequests>>,
}

impl Observer {
    /// Observes one request.
    pub async fn observe(
        &self,
        mut request: Request,
        answer: impl AsyncFnOnce(Request, &EndpointSeen) -> Accounted,
    ) -> Response {
        let probe = probe_index(request.uri().path());
        let hop = request.extensions().get::<Hop>();
        let is_probe = probe.is_some() || hop.is_some_and(|hop| hop.is_probe);
        let (mut entry, caller) = self.begin(&request, Instant::now(), is_probe);
        let tracer = self.tracer.as_ref().filter(|_| !is_probe);
        entry.span = tracer.map(|tracer| RequestSpan::begin(tracer, &request, caller));
        if let Some(span) = &entry.span {
            entry.trace = Some(span.context().trace);
        }
        let headers = request.headers_mut();
        headers.insert(&X_REQUEST_ID, entry.id.clone());
        let seen = EndpointSeen::default();
        let mut unanswered = Unanswered(Some((&entry, &seen, probe)));
        let Accounted {
            mut response,
            account,
        } = entry.around(answer(request, &seen)).await;
        unanswered.0 = None;
        let problem = response.extensions_mut().remove::<Arc<Problem>>();
        if let Some(problem) = &problem {
            self.write_problem(&entry.id, problem, &mut response);
        }
        let status = response.status();
        let view = account.as_ref().map(Account::view).unwrap_or_default();
        let headers = response.headers_mut();
        describe(headers, status, &self.region, &view);
        headers.insert(&X_REQUEST_ID, entry.id.clone());
        self.decisions.count(&view);
        if let Some(status) = view.cache {
            self.count_cache(status.result());
        }
        if let Some(served) = &self.served {
            let ended = (status.as_u16(), is_probe);
            served.add(&self.region, ended, &view, problem.as_deref());
        }
        let endpoint = metrics_of(&seen, probe);
        let took = entry.account_for(endpoint, status.as_u16(), &view, problem.as_deref());
        self.levels.add(&self.region, &view, took);
        response
    }

    /// Begins the entry of a request that the response cache answers at once.
    #[must_use]
    pub fn begin_hit<B>(&self, request: &http::Request<B>, started: Instant) -> AccessEntry<'_> {
        let tracer = self.tracer.as_ref();
        let (mut entry, parent) = self.begin(request, started, false);
        entry.span = tracer.and_then(|tracer| RequestSpan::begin_recorded(tracer, request, parent));
        entry
    }

    /// Begins the entry of a request, without a span; returns where its caller is.
    fn begin<B>(
        &self,
        request: &http::Request<B>,
        started: Instant,
        is_probe: bool,
    ) -> (AccessEntry<'_>, Option<SpanContext>) {
        let kept = self.kept.as_deref().filter(|_| !is_probe);
        let headers = request.headers();
        let is_noted = kept.is_some() || access_lines_are_wanted();
        let caller = match is_noted || self.tracer.is_some() {
            true => Trace::read(headers).map(|trace| trace.context()),
            false => None,
        };
        let via = || Some(request.extensions().get::<Hop>()?.region.clone());
        let entry = AccessEntry {
            id: request_id(headers),
            trace: caller.map(|caller| caller.trace),
            via: is_noted.then(via).flatten(),
            span: None,
            kept,
            method: method_label(request.method()),
            started,
        };
        (entry, caller)
    }

    /// Counts a request that the response cache has answered at once.
    pub fn count_hit(&self, account: &AccountView<'_>, took: Duration) {
        self.count_cache(CacheResult::Hit);
        self.levels.add(&self.region, account, took);
        if let Some(served) = &self.served {
            served.add_hit();
        }
    }

    /// Counts the result of the response cache for a request.
    pub fn count_cache(&self, result: CacheResult) {
        if let Some(counters) = &self.cache {
            counters.count(result);
        }
    }

    fn write_problem(&self, id: &HeaderValue, problem: &Problem, response: &mut Response) {
        let id = id.to_str().unwrap_or_default();
        *response.body_mut() = Body::from(problem.body(id));
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE_PRIVATE.clone());
        match problem.shed_reason() {
            Some(reason) => self.shedding.note(reason),
            None => log_cause(id, problem),
        }
    }
}

/// Where a request notes the endpoint that it reached, in case it is never answered.
#[derive(Default)]
pub struct EndpointSeen(OnceLock<Arc<EndpointMetrics>>);

impl EndpointSeen {
    /// Notes the endpoint.
    pub fn note(&self, endpoint: &Arc<EndpointMetrics>) {
        // A request reaches one endpoint.
        let _first = self.0.set(Arc::clone(endpoint));
    }
}

/// The fields of the access line that describe the request itself.
pub struct AccessEntry<'a> {
    /// The id of the request.
    pub id: HeaderValue,
    trace: Option<TraceId>,
    span: Option<RequestSpan>,
    kept: Option<&'a KeptRequests>,
    method: &'static str,
    /// The region that has handed it on.
    via: Option<RegionId>,
    started: Instant,
}

impl AccessEntry<'_> {
    /// Notes that the response cache answers at once.
    pub fn note_hit(&self) {
        if let Some(span) = &self.span {
            span.add_hit(self.started.elapsed());
        }
    }

    /// Counts and logs the request; returns how long it took.
    pub fn account_for(
        &self,
        endpoint: &EndpointMetrics,
        status: u16,
        account: &AccountView<'_>,
        problem: Option<&Problem>,
    ) -> Duration {
        let took = self.started.elapsed();
        let sampled = self.span.as_ref().and_then(RequestSpan::sampled);
        endpoint.count(self.method, status, took, sampled);
        if let Some(span) = &self.span {
            let route = endpoint.label();
            span.end(Answer {
                method: self.method,
                route: (route != UNMATCHED_LABEL).then_some(route),
                status,
                account,
                problem,
                took,
                more: Vec::new(),
            });
        }
        if let Some(kept) = self.kept {
            kept.keep(self.kept(endpoint, status, account, problem, took));
        }
        if access_lines_are_wanted() {
            self.log(endpoint.label(), status, account, problem, took);
        }
        took
    }

    /// What is kept of the request.
    fn kept(
        &self,
        endpoint: &EndpointMetrics,
        status: u16,
        account: &AccountView<'_>,
        problem: Option<&Problem>,
        took: Duration,
    ) -> KeptRequest {
        let recorded = self.span.as_ref().and_then(RequestSpan::sampled);
        let started_here = || TraceId::parse(account.trace?);
        let mut kept = KeptRequest {
            // Copied: it may be a part of a whole buffer of the connection.
            id: self.id.to_str().unwrap_or_default().into(),
            trace: recorded
                .map(|it| it.trace)
                .or(self.trace)
                .or_else(started_here),
            span: recorded.map(|it| it.span),
            at: SystemTime::now(),
            method: self.method,
            endpoint: endpoint.shared_label(),
            status,
            problem: problem.map(Problem::kind),
            via: self.via.clone(),
            took,
            ..KeptRequest::default()
        };
        kept.describe(account);
        kept
    }

    /// Runs what answers the request, below its span if it has one.
    fn around<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.span {
            Some(span) => Either::Left(span.around(answer)),
            None => Either::Right(answer),
        }
    }

    fn log(
        &self,
        endpoint: &str,
        status: u16,
        account: &AccountView<'_>,
        problem: Option<&Problem>,
        took: Duration,
    ) {
        let served = account.served;
        let upstream = served.filter(|served| served.role == NodeRole::Upstream);
        let reason = |served: &Served| served.reason.filter(|_| upstream.is_none());
        let timing = account.timing.unwrap_or_default();
        let recorded = self.span.as_ref().and_then(RequestSpan::sampled);
        let trace = recorded.map(|it| it.trace).or(self.trace);
        let trace: Option<&dyn Display> = match (&trace, &account.trace) {
            (Some(trace), _) => Some(trace),
            (None, Some(started)) => Some(started),
            (None, None) => None,
        };
        tracing::info!(
            target: ACCESS,
            request_id = self.id.to_str().unwrap_or_default(),
            trace_id = trace.map(tracing::field::display),
            span_id = recorded.map(|it| tracing::field::display(it.span)),
            method = self.method,
            via = self.via.as_ref().map(RegionId::as_str),
            endpoint,
            status,
            problem = problem.map(|problem| problem.kind().name()),
            level = account.level().map(Level::as_str),
            upstream = served.and_then(|served| served.upstream.as_deref()),
            node = served.map(|served| &*served.node),
            reason = served.and_then(reason).map(Reason::as_str),
            policy = account.routed.map(|routed| &*routed.policy),
            proposed = account.routed.and_then(|routed| routed.proposed.as_ref()).map(RegionId::as_str),
            region = account.routed.and_then(|routed| routed.region.as_ref()).map(RegionId::as_str),
            region_reason = account.routed.map(|routed| routed.reason.as_str()),
            cache = account.cache.map(|cache| cache.result().as_str()),
            staleness_s = account.staleness.map(|age| age.as_secs_f64()),
            route_ms = timing.route.as_secs_f64() * 1_000.0,
            wait_ms = timing.wait.as_secs_f64() * 1_000.0,
            db_ms = timing.db.as_secs_f64() * 1_000.0,
            upstream_ms = upstream.map(|_| timing.upstream.as_secs_f64() * 1_000.0),
            hand_on_ms = (!timing.hand_on.is_zero()).then_some(timing.hand_on.as_secs_f64() * 1_000.0),
            total_ms = took.as_secs_f64() * 1_000.0,
            "request"
        );
    }
}

/// Accounts for a request that is dropped before its answer, which nothing else does.
struct Unanswered<'a>(Option<(&'a AccessEntry<'a>, &'a EndpointSeen, Option<usize>)>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((entry, seen, probe)) = self.0 {
            let account = AccountView::default();
            entry.account_for(metrics_of(seen, probe), CLIENT_GONE, &account, None);
        }
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

pub(super) fn access_lines_are_wanted() -> bool {
    tracing::enabled!(target: ACCESS, tracing::Level::INFO)
}

/// The label for requests without an endpoint.
static UNMATCHED: LazyLock<EndpointMetrics> =
    LazyLock::new(|| EndpointMetrics::new(UNMATCHED_LABEL));
pub(super) const UNMATCHED_LABEL: &str = "unmatched";
static PROBES: LazyLock<[EndpointMetrics; PROBE_PATHS.len()]> =
    LazyLock::new(|| PROBE_PATHS.map(EndpointMetrics::new));

/// The label is the endpoint's template, never text that a client chose.
fn metrics_of(seen: &EndpointSeen, probe: Option<usize>) -> &EndpointMetrics {
    let endpoint = seen.0.get().map(|endpoint| &**endpoint);
    endpoint
        .or(probe.and_then(|probe| PROBES.get(probe)))
        .unwrap_or(&UNMATCHED)
}

/// The index of the probe with this path, if it is one.
fn probe_index(path: &str) -> Option<usize> {
    PROBE_PATHS.iter().position(|probe| *probe == path)
}

/// Labels a method in metrics and logs.
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
