//! The metrics of one node, with handles that are created once for what every request counts.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};

use tidegate_telemetry::names;

/// The outcome of most requests.
pub(super) const ANSWERED: &str = "answered";

/// Counts and times the requests to one node.
///
/// Handles are created when first needed, so that an upstream may exist before the recorder.
#[derive(Debug)]
pub(super) struct NodeMetrics {
    labels: [(&'static str, String); 2],
    duration: OnceLock<Histogram>,
    answered: OnceLock<Counter>,
}

impl NodeMetrics {
    pub(super) fn new(upstream: &str, node: &str) -> Self {
        Self {
            labels: [("upstream", upstream.to_owned()), ("node", node.to_owned())],
            duration: OnceLock::new(),
            answered: OnceLock::new(),
        }
    }

    /// Records how long the node took to answer.
    pub(super) fn took(&self, took: Duration) {
        let new = || metrics::histogram!(names::UPSTREAM_DURATION, &self.labels);
        self.duration.get_or_init(new).record(took.as_secs_f64());
    }

    /// Counts a request.
    pub(super) fn count(&self, outcome: &'static str) {
        match outcome {
            ANSWERED => {
                let answered = self.answered.get_or_init(|| self.counter(outcome));
                answered.increment(1);
            }
            _ => self.counter(outcome).increment(1),
        }
    }

    fn counter(&self, outcome: &'static str) -> Counter {
        let [upstream, node] = self.labels.clone();
        let labels = [upstream, node, ("outcome", outcome.to_owned())];
        metrics::counter!(names::UPSTREAM_REQUESTS, &labels)
    }
}
