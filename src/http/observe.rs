//! The outermost layer: request id, access line, metrics, the request's span, and the bodies of problems.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use tokio::time::Instant;

use super::access_entry::{AccessEntry, UNMATCHED_LABEL, access_lines_are_wanted, method_label};
use super::account::{Account, AccountView, Accounted};
use super::answer::describe;
use super::cache_status::{CacheCounters, CacheResult};
use super::decision_counters::DecisionCounters;
use super::hop::Hop;
use super::kept_requests::KeptRequests;
use super::level_times::LevelTimes;
use super::problem::Problem;
use super::request_id::{Trace, X_REQUEST_ID, request_id};
use super::request_span::RequestSpan;
use super::served_requests::ServedRequests;
use super::shedding::Shedding;
use tidegate_model::RegionId;
use tidegate_policy::NO_STORE_PRIVATE;
use tidegate_telemetry::EndpointMetrics;
use tidegate_telemetry::trace::{SpanContext, Tracer};

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

/// The label for requests without an endpoint.
static UNMATCHED: LazyLock<EndpointMetrics> =
    LazyLock::new(|| EndpointMetrics::new(UNMATCHED_LABEL));
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
