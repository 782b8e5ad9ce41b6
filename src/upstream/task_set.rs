//! Tasks that are started once and ended together.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

/// Tasks; they end with it at the latest.
#[derive(Debug, Default)]
pub(super) struct TaskSet(Mutex<JoinSet<()>>);

impl TaskSet {
    /// Lets `start` start them, unless there are some already.
    pub(super) fn start(&self, start: impl FnOnce(&mut JoinSet<()>)) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            start(&mut tasks);
        }
    }

    /// Ends them; none says anything any more.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}
