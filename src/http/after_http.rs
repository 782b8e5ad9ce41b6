//! The continuation of a connection that leaves HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

/// What a connection does after an answer with status 101: stored in the response's extensions, and
/// driven by the connection's own task, so that it still counts as a connection.
#[derive(Clone)]
pub struct AfterHttp(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl AfterHttp {
    /// Stores a future.
    #[must_use]
    pub fn new(rest: BoxFuture<'static, ()>) -> Self {
        Self(Arc::new(Mutex::new(Some(rest))))
    }

    /// Runs the future. Dropping it ends the connection.
    pub async fn run(self) {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = rest {
            rest.await;
        }
    }
}
