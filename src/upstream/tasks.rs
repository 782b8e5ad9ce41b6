//! The background tasks of an upstream.

use std::sync::Arc;

use super::Upstream;
use super::check::check;
use tidegate_steering::announce;

impl Upstream {
    /// Starts, once, to check the nodes and to report on them; ends when the upstream is dropped.
    pub fn watch(self: &Arc<Self>) {
        self.tasks.start(|tasks| {
            let selector = Arc::clone(self.selector());
            tasks.spawn(announce(selector, self.candidates()));
            if let Some(config) = &self.settings().check {
                for node in 0..self.nodes().len() {
                    tasks.spawn(check(Arc::downgrade(self), node, config.clone()));
                }
            }
        });
    }

    /// Ends what [`watch`](Self::watch) has started; requests under way continue.
    pub(super) async fn retire(&self) {
        self.tasks.end().await;
        self.candidates().withdraw();
    }
}
