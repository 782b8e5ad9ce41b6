//! The background tasks of an upstream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use super::Upstream;
use super::check::check;
use tidegate_steering::announce;

/// The tasks that check an upstream's nodes and report on them. They end no later than the
/// upstream.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Starts them, once.
    pub(super) fn start(&self, upstream: &Arc<Upstream>) {
        let mut tasks = self.lock();
        if !tasks.is_empty() {
            return;
        }
        let selector = Arc::clone(upstream.selector());
        tasks.spawn(announce(selector, upstream.candidates()));
        if let Some(config) = &upstream.settings().check {
            for node in 0..upstream.nodes().len() {
                tasks.spawn(check(Arc::downgrade(upstream), node, config.clone()));
            }
        }
    }

    /// Ends them; none reports anything after that.
    pub(super) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
