//! Keeps, traces and logs the requests to object storage, which has no endpoints, as the outermost layer does
//! those of the public listener. Deliberately absent: metrics of endpoints; object storage has its own.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::Either;
use http::Request;
use tokio::time::Instant;

use super::account::AccountView;
use super::kept_requests::{KeptRequest, KeptRequests};
use super::observe::{CLIENT_GONE, UNMATCHED_LABEL, access_lines_are_wanted, method_label};
use super::request_id::Trace;
use super::request_span::{Answer, RequestSpan};
use tidegate_telemetry::ACCESS;
use tidegate_telemetry::trace::{TraceId, Tracer, Value};

/// Where requests are noted.
#[derive(Clone, Default)]
pub struct RequestNotes {
    /// Traces requests; `None` without a collector.
    pub tracer: Option<Arc<Tracer>>,
    /// Keeps the last requests; `None` if none are kept.
    pub kept: Option<Arc<KeptRequests>>,
}

/// What a request turned out to be.
#[derive(Default)]
pub struct Understood<'a> {
    /// The template of the path that was asked for, if one was recognised.
    pub route: Option<&'static str>,
    /// The name of its operation, if it has one.
    pub operation: Option<&'a str>,
    /// The repository that it may use.
    pub repository: Option<&'a str>,
    /// What else is said of it in its span.
    pub attributes: Vec<(&'static str, Value)>,
}

/// A request that is being answered. One that is dropped was left by its client.
pub struct NotedRequest<'a> {
    notes: &'a RequestNotes,
    id: &'a str,
    method: &'static str,
    trace: Option<TraceId>,
    span: Option<RequestSpan>,
    started: Instant,
    is_answered: bool,
}

impl RequestNotes {
    /// Begins to note a request.
    #[must_use]
    pub fn begin<'a, B>(&'a self, request: &Request<B>, id: &'a str) -> NotedRequest<'a> {
        let is_noted = self.kept.is_some() || access_lines_are_wanted();
        let caller = match is_noted || self.tracer.is_some() {
            true => Trace::read(request.headers()).map(|trace| trace.context()),
            false => None,
        };
        let tracer = self.tracer.as_ref();
        let span = tracer.map(|tracer| RequestSpan::begin(tracer, request, caller));
        let begun = span.as_ref().map(|span| span.context().trace);
        NotedRequest {
            notes: self,
            id,
            method: method_label(request.method()),
            trace: begun.or(caller.map(|caller| caller.trace)),
            span,
            started: Instant::now(),
            is_answered: false,
        }
    }
}

impl NotedRequest<'_> {
    /// Runs what answers the request, below its span if it has one.
    pub fn around<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.span {
            Some(span) => Either::Left(span.around(answer)),
            None => Either::Right(answer),
        }
    }

    /// Notes the status of the answer, and what the request turned out to be.
    pub fn answered(mut self, status: u16, understood: Understood<'_>) {
        self.is_answered = true;
        self.note(status, understood);
    }

    fn note(&self, status: u16, understood: Understood<'_>) {
        let took = self.started.elapsed();
        let endpoint = understood.route.unwrap_or(UNMATCHED_LABEL);
        let recorded = self.span.as_ref().and_then(RequestSpan::sampled);
        let span_id = recorded.map(|it| it.span);
        if access_lines_are_wanted() {
            tracing::info!(
                target: ACCESS,
                request_id = self.id,
                trace_id = self.trace.map(tracing::field::display),
                span_id = span_id.map(tracing::field::display),
                method = self.method,
                endpoint,
                operation = understood.operation,
                repository = understood.repository,
                status,
                total_ms = took.as_secs_f64() * 1_000.0,
                "request"
            );
        }
        if let Some(kept) = &self.notes.kept {
            kept.keep(KeptRequest {
                id: self.id.into(),
                trace: self.trace,
                span: span_id,
                at: SystemTime::now(),
                method: self.method,
                endpoint: endpoint.into(),
                status,
                took,
                ..KeptRequest::default()
            });
        }
        if let Some(span) = &self.span {
            span.end(Answer {
                method: self.method,
                route: understood.route,
                status,
                account: &AccountView::default(),
                problem: None,
                took,
                more: understood.attributes,
            });
        }
    }
}

impl Drop for NotedRequest<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.note(CLIENT_GONE, Understood::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_whether_it_is_answered_or_left() {
        let notes = RequestNotes {
            tracer: None,
            kept: KeptRequests::new(2).map(Arc::new),
        };
        let kept = notes.kept.as_ref().unwrap();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = Request::put("/b/k?X-Amz-Signature=secret").header("traceparent", parent);
        let request = request.body(()).unwrap();
        let answered = notes.begin(&request, "a");
        let understood = Understood {
            route: Some("/{bucket}/{key}"),
            ..Understood::default()
        };
        answered.answered(200, understood);
        drop(notes.begin(&request, "b"));

        let found = kept.find("a").unwrap();
        let shown = (found.method, &*found.endpoint, found.status);
        assert_eq!(shown, ("PUT", "/{bucket}/{key}", 200));
        assert_eq!(
            found.trace.map(|it| it.0),
            Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c)
        );
        assert!(!format!("{found:?}").contains("secret"));
        let left = kept.find("b").unwrap();
        assert_eq!((&*left.endpoint, left.status), ("unmatched", 499));
    }
}
