//! The span of a request that this process answers.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::context::{SpanContext, SpanId, TraceId};
use super::current::{Current, below};
use super::record::{SpanKind, SpanRecord};
use super::tracer::Tracer;
use super::value::Value;

/// The span of a request, which is described when it ends.
#[derive(Debug)]
pub struct ServerSpan {
    current: Current,
    parent: Option<SpanId>,
    started: SystemTime,
}

/// What is said of an answered request.
#[derive(Debug)]
pub struct ServerAnswer {
    /// The name of its span.
    pub name: Cow<'static, str>,
    /// The time that it took.
    pub took: Duration,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether the gateway or what is behind it has failed.
    pub is_error: bool,
}

impl ServerSpan {
    /// Begins the span of a request only if it is recorded: for one that is answered at once, so that no other
    /// process has to know.
    #[must_use]
    pub fn begin_recorded(tracer: &Arc<Tracer>, parent: Option<SpanContext>) -> Option<Self> {
        // Most hits are not recorded, and need no id then.
        let mut chosen = None;
        let trace = || *chosen.insert(id_below(parent));
        let is_recorded = tracer.records(parent.as_ref(), trace);
        is_recorded.then(|| {
            let trace = chosen.unwrap_or_else(|| id_below(parent));
            Self::of(tracer, parent, trace, true)
        })
    }

    /// Begins the span of a request whose caller is at `parent`, if it has said so.
    #[must_use]
    pub fn begin(tracer: &Arc<Tracer>, parent: Option<SpanContext>) -> Self {
        let trace = id_below(parent);
        let is_sampled = tracer.records(parent.as_ref(), || trace);
        Self::of(tracer, parent, trace, is_sampled)
    }

    fn of(
        tracer: &Arc<Tracer>,
        parent: Option<SpanContext>,
        trace: TraceId,
        is_sampled: bool,
    ) -> Self {
        let context = SpanContext {
            trace,
            span: SpanId::random(),
            is_sampled,
        };
        let current = Current {
            tracer: Arc::clone(tracer),
            context,
        };
        Self {
            current,
            parent: parent.map(|it| it.span),
            started: SystemTime::now(),
        }
    }

    /// Returns its position, recorded or not.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        self.current.context
    }

    /// Returns its position if it is recorded.
    #[must_use]
    pub fn sampled(&self) -> Option<SpanContext> {
        Some(self.current.context).filter(|it| it.is_sampled)
    }

    /// Runs a future whose spans are below this one.
    pub fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        below(Some(self.current.clone()), future)
    }

    /// Adds a span below this one, of work that began with it and has just ended.
    pub fn add(&self, name: &'static str, took: Duration, attributes: Vec<(&'static str, Value)>) {
        self.current.tracer.end(SpanRecord {
            context: self.current.context.child(),
            parent: Some(self.current.context.span),
            name: name.into(),
            kind: SpanKind::Internal,
            started: self.started,
            took,
            attributes,
            is_error: false,
        });
    }

    /// Ends the span.
    pub fn end(&self, answer: ServerAnswer) {
        let ServerAnswer {
            name,
            took,
            attributes,
            is_error,
        } = answer;
        self.current.tracer.end(SpanRecord {
            context: self.current.context,
            parent: self.parent,
            name,
            kind: SpanKind::Server,
            started: self.started,
            took,
            attributes,
            is_error,
        });
    }
}

/// The trace of the caller, else a new one.
fn id_below(parent: Option<SpanContext>) -> TraceId {
    parent.map_or_else(TraceId::random, |it| it.trace)
}
