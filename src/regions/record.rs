//! What has been seen of a region: its requests, and its nodes at a step.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_traffic::health::{Outcome, Quantities, Samples, Summary};

/// Of fewer answers no percentile is shown.
const FEWEST_ANSWERS: u64 = 5;

/// How long the least time of a node counts.
const LEAST_AGE_MAX: Duration = Duration::from_secs(3_600);

/// What has been seen of a region.
#[derive(Clone)]
pub(super) struct Record {
    /// What it is judged by: attempts, and what its nodes would do in place of them.
    pub(super) samples: Samples,
    /// Attempts alone: what is shown, and counts as load.
    attempts: Samples,
    /// By node: the least time, and when it was measured.
    least: HashMap<Box<str>, (Duration, Duration)>,
    /// By node: the least usual time.
    pub(super) least_usual: Vec<Duration>,
    pub(super) requested_at: Option<Duration>,
    pub(super) bad_since: Option<Duration>,
    pub(super) summary: Summary,
    attempted: Summary,
    pub(super) quantities: Quantities,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            samples: Samples::default(),
            attempts: Samples::default(),
            least: HashMap::new(),
            least_usual: Vec::new(),
            requested_at: None,
            bad_since: None,
            summary: Summary::default(),
            attempted: Summary::default(),
            quantities: Quantities::NONE,
        }
    }
}

impl Record {
    /// Records the end of an attempt at a node.
    pub(super) fn add(&mut self, node: &str, outcome: Outcome, took: Duration, now: Duration) {
        self.requested_at = Some(now);
        if outcome == Outcome::Failed {
            self.bad_since.get_or_insert(now);
            self.sample(outcome, Duration::ZERO, now);
            return;
        }
        let least = match self.least.get_mut(node) {
            Some((least, at)) => {
                if took < *least || now.saturating_sub(*at) > LEAST_AGE_MAX {
                    (*least, *at) = (took, now);
                }
                *least
            }
            None => {
                self.least.insert(node.into(), (took, now));
                took
            }
        };
        self.sample(outcome, took.saturating_sub(least), now);
    }

    fn sample(&mut self, outcome: Outcome, time: Duration, now: Duration) {
        self.samples.add(outcome, time, now);
        self.attempts.add(outcome, time, now);
    }

    pub(super) fn look(&mut self, now: Duration) {
        self.summary = self.samples.summary(now);
        self.attempted = self.attempts.summary(now);
        self.quantities = self.summary.quantities(false);
    }

    /// Returns the attempts per second of their window.
    pub(super) fn rate(&self) -> f64 {
        let Summary {
            requests, window, ..
        } = self.attempted;
        requests as f64 / window.as_secs_f64().max(1.0)
    }

    /// Returns the quantities of its attempts alone, and its lag.
    pub(super) fn attempted(&self) -> Quantities {
        let Summary {
            requests, failed, ..
        } = self.attempted;
        let Quantities { errors, p99, .. } = self.attempted.quantities(false);
        // A failure has no time, and is among the samples with 0.
        let answered = requests.saturating_sub(failed);
        Quantities {
            errors,
            p99: p99.filter(|_| answered >= FEWEST_ANSWERS),
            ..self.quantities
        }
    }
}

/// What is known about a region's nodes at a step.
#[derive(Clone, Debug, Default)]
pub struct RegionView {
    /// What each of its nodes would do with a request: the time it usually takes, or nothing if it
    /// does not answer.
    pub nodes: Vec<Option<Duration>>,
    /// Whether all of its nodes are drained by an operator.
    pub drained: bool,
    /// How far its replica is behind, in microseconds.
    pub lag: u64,
}

impl RegionView {
    pub(super) fn answers(&self) -> bool {
        // Of a region without nodes here nothing is known.
        self.nodes.is_empty() || self.drained || self.nodes.iter().any(Option::is_some)
    }

    pub(super) fn distance(&self) -> Option<Duration> {
        self.nodes.iter().flatten().min().copied()
    }
}
