//! The span of a request to a bucket, where the client's request is traced.

use std::sync::Arc;

use tidegate_telemetry::trace::{ActiveSpan, SpanKind};

use super::fault::{Fault, FaultKind};

/// The span of a request. One that is dropped before its answer is no longer needed.
struct BucketSpan {
    span: ActiveSpan,
    is_answered: bool,
}

impl Drop for BucketSpan {
    fn drop(&mut self) {
        if !self.is_answered {
            self.span.set("tidegate.outcome", "cancelled");
        }
    }
}

/// Waits for a request to a bucket in a span of its own. What its provider says of a failure is not in it.
pub(super) async fn traced<T>(
    bucket: &Arc<str>,
    name: &'static str,
    request: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut span = BucketSpan {
        span: ActiveSpan::begin(name, SpanKind::Client),
        is_answered: false,
    };
    span.span.set("tidegate.bucket", bucket);
    let answer = request.await;
    span.is_answered = true;
    match &answer {
        Err(fault) if fault.kind != FaultKind::Absent => span.span.fail(fault.kind.as_str()),
        Err(_) | Ok(_) => {}
    }
    answer
}
