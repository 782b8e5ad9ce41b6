//! Where in its trace the running task is.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::Either;

use super::context::SpanContext;
use super::tracer::Tracer;

tokio::task_local! {
    static CURRENT: Current;
}

/// The parent of the spans that begin in a task.
#[derive(Debug, Clone)]
pub struct Current {
    pub(super) tracer: Arc<Tracer>,
    pub(super) context: SpanContext,
}

impl Current {
    /// Returns that of the running task; `None` where nothing is traced.
    #[must_use]
    pub fn get() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Returns the position as the next process gets it.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        self.context
    }
}

/// Runs a future below a position, if there is one.
pub(super) fn below<F: Future>(
    current: Option<Current>,
    future: F,
) -> impl Future<Output = F::Output> {
    match current {
        Some(current) => Either::Left(CURRENT.scope(current, future)),
        None => Either::Right(future),
    }
}

/// Lets a future that another task will run keep the position of this one.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    below(Current::get(), future)
}
