//! Takes ended spans, for the task that sends them.

use metrics::Counter;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::context::{SpanContext, TraceId};
use super::record::SpanRecord;
use super::sampler::Sampler;
use crate::names;

/// Traces the requests of this process.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    ended: mpsc::Sender<SpanRecord>,
    dropped: Counter,
    dropped_late: Counter,
}

impl Tracer {
    pub(super) fn new(sampler: Sampler, ended: mpsc::Sender<SpanRecord>) -> Self {
        Self {
            sampler,
            ended,
            dropped: metrics::counter!(names::SPANS_DROPPED, "reason" => "queue"),
            dropped_late: metrics::counter!(names::SPANS_DROPPED, "reason" => "ended"),
        }
    }

    /// Decides whether a request is recorded whose caller is at `parent`, if it has said so. `trace` is called only
    /// where the decision depends on the id.
    pub(super) fn records(
        &self,
        parent: Option<&SpanContext>,
        trace: impl FnOnce() -> TraceId,
    ) -> bool {
        self.sampler.records(parent, trace)
    }

    /// Takes a span; one that has no room is dropped and counted.
    pub(super) fn end(&self, record: SpanRecord) {
        match self.ended.try_send(record) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.dropped.increment(1),
            // The process is ending, or the task that sends spans has failed.
            Err(TrySendError::Closed(_)) => self.dropped_late.increment(1),
        }
    }
}
