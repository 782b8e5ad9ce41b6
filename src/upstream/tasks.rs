//! The background tasks of an upstream.

use std::sync::{Arc, Weak};

use super::check::check;
use super::{CheckConfig, Upstream};
use tidegate_steering::{Candidates, SharedSelector, announce};
use tidegate_telemetry::again_and_again;

impl Upstream {
    /// Starts, once, to check the nodes and to report on them; ends when the upstream is dropped.
    pub fn watch(self: &Arc<Self>) {
        self.tasks.start(|tasks| {
            let selector = Arc::clone(self.selector());
            tasks.spawn(keep_announcing(selector, self.candidates()));
            if let Some(config) = &self.settings().check {
                for node in 0..self.nodes().len() {
                    tasks.spawn(keep_checking(Arc::downgrade(self), node, config.clone()));
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

async fn keep_announcing(selector: Arc<SharedSelector>, candidates: Candidates) {
    again_and_again("upstream breakers", || {
        announce(Arc::clone(&selector), candidates.clone())
    })
    .await;
}

/// Without checks, a node that has failed would never be tried again: requests leave its probes to them.
async fn keep_checking(upstream: Weak<Upstream>, node: usize, config: CheckConfig) {
    again_and_again("checks", || {
        check(Weak::clone(&upstream), node, config.clone())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use tokio::time::sleep;

    use super::super::UpstreamConfig;
    use super::*;
    use tidegate_model::Place;
    use tidegate_telemetry::PANIC_PAUSE;

    fn upstream() -> Arc<Upstream> {
        let url = "http://127.0.0.1:1".parse().unwrap();
        let config = UpstreamConfig::of_url(Place::Name("test"), url);
        Arc::new(Upstream::new(&config).unwrap())
    }

    /// Of a node that is not there, each panics.
    const NO_NODE: usize = 7;

    #[tokio::test(start_paused = true)]
    async fn checks_that_panic_begin_again_and_end_with_their_upstream() {
        let upstream = upstream();
        let config = CheckConfig {
            path: PathAndQuery::from_static("/"),
            interval: CheckConfig::INTERVAL_DEFAULT,
        };
        let checks = tokio::spawn(keep_checking(Arc::downgrade(&upstream), NO_NODE, config));
        sleep(3 * PANIC_PAUSE).await;
        assert!(!checks.is_finished());
        drop(upstream);
        checks.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn reports_on_breakers_that_panic_begin_again() {
        let upstream = upstream();
        let candidates = Candidates {
            upstream: Some("test".to_owned()),
            nodes: vec!["none".to_owned(); NO_NODE],
        };
        let reports = keep_announcing(Arc::clone(upstream.selector()), candidates);
        let reports = tokio::spawn(reports);
        sleep(3 * PANIC_PAUSE).await;
        assert!(!reports.is_finished());
        reports.abort();
    }
}
