//! The metrics of one node, with handles that are created once.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};

use tidegate_telemetry::names;

/// Counts and times what comes of requests to one node.
///
/// Handles are created when first needed: an outcome that never occurs is not reported.
#[derive(Debug)]
pub(super) struct NodeMetrics {
    upstream: String,
    node: String,
    answered: OnceLock<(Histogram, Counter)>,
}

impl NodeMetrics {
    pub(super) fn new(upstream: &str, node: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            node: node.to_owned(),
            answered: OnceLock::new(),
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&self, took: Duration) {
        let (duration, answers) = self.answered.get_or_init(|| {
            let labels = self.labels();
            let duration = metrics::histogram!(names::UPSTREAM_DURATION, &labels);
            (duration, self.counter("answered"))
        });
        duration.record(took.as_secs_f64());
        answers.increment(1);
    }

    /// Counts another outcome.
    pub(super) fn count(&self, outcome: &'static str) {
        self.counter(outcome).increment(1);
    }

    fn counter(&self, outcome: &'static str) -> Counter {
        let [upstream, node] = self.labels();
        let labels = [upstream, node, ("outcome", outcome.to_owned())];
        metrics::counter!(names::UPSTREAM_REQUESTS, &labels)
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [
            ("upstream", self.upstream.clone()),
            ("node", self.node.clone()),
        ]
    }
}
