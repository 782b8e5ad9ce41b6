//! One span: what a part of a request does, from when to when.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::context::SpanContext;
use super::current::{Current, below};
use super::record::{SpanKind, SpanRecord};
use super::tracer::Tracer;
use super::value::Value;

/// A part of a request; it ends when it is dropped. Does nothing where the request is not recorded.
#[derive(Debug)]
pub struct ActiveSpan(State);

#[derive(Debug)]
enum State {
    /// Nothing is traced.
    Off,
    /// The trace is not recorded, which other processes must know.
    Unsampled(Current),
    // Boxed: rarely needed.
    Recorded(Box<Recording>),
}

#[derive(Debug)]
struct Recording {
    tracer: Arc<Tracer>,
    since: Instant,
    record: SpanRecord,
}

impl ActiveSpan {
    /// Begins a part of what the task does.
    #[must_use]
    pub fn begin(name: &'static str, kind: SpanKind) -> Self {
        Self(match Current::get() {
            None => State::Off,
            Some(current) if !current.context.is_sampled => State::Unsampled(current),
            Some(Current { tracer, context }) => State::Recorded(Box::new(Recording {
                tracer,
                since: Instant::now(),
                record: SpanRecord {
                    context: context.child(),
                    parent: Some(context.span),
                    name: name.into(),
                    kind,
                    started: SystemTime::now(),
                    took: Duration::ZERO,
                    attributes: Vec::new(),
                    is_error: false,
                },
            })),
        })
    }

    /// Whether it is recorded, so that attributes are of use.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        matches!(self.0, State::Recorded(_))
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let State::Recorded(recording) = &mut self.0 {
            recording.record.name = name.into();
        }
    }

    /// Sets an attribute that is not set yet.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let State::Recorded(recording) = &mut self.0 {
            recording.record.attributes.push((key, value.into()));
        }
    }

    /// Marks it as failed, for a reason of a closed set.
    pub fn fail(&mut self, error: impl Into<Value>) {
        self.set("error.type", error);
        if let State::Recorded(recording) = &mut self.0 {
            recording.record.is_error = true;
        }
    }

    /// Returns its position, for the process that is asked.
    #[must_use]
    pub fn context(&self) -> Option<SpanContext> {
        match &self.0 {
            State::Off => None,
            State::Unsampled(current) => Some(current.context),
            State::Recorded(recording) => Some(recording.record.context),
        }
    }

    /// Runs a future whose spans are below this one.
    pub fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let current = match &self.0 {
            // Where there is a position, it stays the one of the task.
            State::Off | State::Unsampled(_) => None,
            State::Recorded(recording) => Some(Current {
                tracer: Arc::clone(&recording.tracer),
                context: recording.record.context,
            }),
        };
        below(current, future)
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let State::Recorded(recording) = std::mem::replace(&mut self.0, State::Off) {
            let Recording {
                tracer,
                since,
                mut record,
            } = *recording;
            record.took = since.elapsed();
            tracer.end(record);
        }
    }
}
