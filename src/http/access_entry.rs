//! What is counted, logged, traced and kept of one request once it is answered.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use futures_util::future::Either;
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::account::{AccountView, NodeRole, Served};
use super::kept_requests::{KeptRequest, KeptRequests};
use super::problem::Problem;
use super::request_span::{Answer, RequestSpan};
use tidegate_model::{Level, RegionId};
use tidegate_policy::Reason;
use tidegate_telemetry::trace::TraceId;
use tidegate_telemetry::{ACCESS, EndpointMetrics};

/// The label for requests without an endpoint.
pub(super) const UNMATCHED_LABEL: &str = "unmatched";

/// The fields of the access line that describe the request itself.
pub struct AccessEntry<'a> {
    /// The id of the request.
    pub id: HeaderValue,
    pub(super) trace: Option<TraceId>,
    pub(super) span: Option<RequestSpan>,
    pub(super) kept: Option<&'a KeptRequests>,
    pub(super) method: &'static str,
    /// The region that has handed it on.
    pub(super) via: Option<RegionId>,
    pub(super) started: Instant,
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
    pub(super) fn around<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
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

pub(super) fn access_lines_are_wanted() -> bool {
    tracing::enabled!(target: ACCESS, tracing::Level::INFO)
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
