//! Tasks that are started once and ended together.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

/// Tasks, which end no later than this.
#[derive(Debug, Default)]
pub(super) struct TaskSet(Mutex<JoinSet<()>>);

impl TaskSet {
    /// Calls `start` to start them, unless there are some already.
    pub(super) fn start(&self, start: impl FnOnce(&mut JoinSet<()>)) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            start(&mut tasks);
        }
    }

    /// Ends them; none reports anything after that.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}
