//! The metrics of requests to one region, with handles that are created once.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};
use tidegate_model::RegionId;
use tidegate_telemetry::names;

/// What most requests are counted by; other outcomes are counted too, only more slowly.
#[derive(Default)]
pub(super) struct TunnelMetrics {
    duration: OnceLock<Histogram>,
    answered: OnceLock<Counter>,
}

impl TunnelMetrics {
    /// Records how long an answer took.
    pub(super) fn took(&self, region: &RegionId, took: Duration) {
        let duration = self.duration.get_or_init(|| {
            let labels = [("region", region.to_string())];
            metrics::histogram!(names::TUNNEL_DURATION, &labels)
        });
        duration.record(took.as_secs_f64());
    }

    /// Counts a request by its end.
    pub(super) fn count(&self, region: &RegionId, outcome: &'static str) {
        match outcome {
            ANSWERED => self
                .answered
                .get_or_init(|| counter(region, outcome))
                .increment(1),
            _ => count(region, outcome),
        }
    }
}

/// The outcome of a request that was answered.
pub(super) const ANSWERED: &str = "answered";

/// Counts how a request ended that was handed on.
pub(super) fn count(region: &RegionId, outcome: &'static str) {
    counter(region, outcome).increment(1);
}

fn counter(region: &RegionId, outcome: &'static str) -> Counter {
    let labels = [
        ("region", region.to_string()),
        ("outcome", outcome.to_owned()),
    ];
    metrics::counter!(names::TUNNEL_REQUESTS, &labels)
}
