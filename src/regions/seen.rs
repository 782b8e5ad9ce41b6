//! Decisions as metrics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram};

use crate::http::Routed;
use tidegate_model::RegionId;
use tidegate_telemetry::trace::Current;
use tidegate_telemetry::{names, note_exemplar};

/// Most series of a metric: what comes after counts as `policy="other"`.
const SERIES_MAX: usize = 2_000;

/// The states of a region, as `/admin/regions` has them.
pub const REGION_STATES: [&str; 6] = [
    "well",
    "ramping",
    "left",
    "draining",
    "unreachable",
    "unknown",
];

/// The handles of the series that were needed; looked up without a lock, since every decision does.
#[derive(Default)]
pub(super) struct Seen {
    known: ArcSwap<HashMap<Routed, Series>>,
    adding: Mutex<()>,
}

/// The series of decisions that are alike.
#[derive(Clone)]
struct Series {
    decisions: Counter,
    /// That of the policy and the region that has served, once one has.
    durations: Arc<OnceLock<Histogram>>,
}

impl Seen {
    /// Counts a decision that is acted upon.
    pub(super) fn decided(&self, routed: &Routed) {
        match self.known.load().get(routed) {
            Some(series) => series.decisions.increment(1),
            None => self.add(routed).increment(1),
        }
    }

    /// Records how long an answer took.
    pub(super) fn answered(&self, routed: &Routed, took: Duration) {
        let known = self.known.load();
        let series = known.get(routed).or_else(|| {
            // There was no room for its own.
            let is_alike =
                |it: &Routed| (&it.policy, &it.region) == (&routed.policy, &routed.region);
            known
                .iter()
                .find_map(|(it, series)| is_alike(it).then_some(series))
        });
        if let Some(series) = series {
            let durations = series.durations.get_or_init(|| durations(routed));
            durations.record(took.as_secs_f64());
            note(routed, took);
        }
    }

    /// Makes the series of a decision, and keeps it if there is room; returns its counter.
    fn add(&self, routed: &Routed) -> Counter {
        // A panic while the lock is held loses a count at worst.
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load_full();
        if let Some(series) = known.get(routed) {
            return series.decisions.clone();
        }
        let is_full = known.len() >= SERIES_MAX;
        let decisions = decisions(routed, is_full);
        if !is_full {
            let mut known = HashMap::clone(&known);
            let series = Series {
                decisions: decisions.clone(),
                durations: Arc::default(),
            };
            known.insert(routed.clone(), series);
            if known.len() == SERIES_MAX {
                tracing::warn!("too many series of decisions: others count as policy=other");
            }
            self.known.store(Arc::new(known));
        }
        decisions
    }
}

fn decisions(routed: &Routed, is_other: bool) -> Counter {
    let labels = match is_other {
        false => [
            &*routed.policy,
            name(routed.proposed.as_ref()),
            name(routed.region.as_ref()),
        ],
        true => ["other"; 3],
    };
    let [policy, proposed, region] = labels.map(str::to_owned);
    let labels = [
        ("policy", policy),
        ("proposed", proposed),
        ("region", region),
        ("reason", routed.reason.to_string()),
    ];
    metrics::counter!(names::TRAFFIC_DECISIONS, &labels)
}

fn durations(routed: &Routed) -> Histogram {
    let labels = [
        ("policy", routed.policy.to_string()),
        ("region", name(routed.region.as_ref()).to_owned()),
    ];
    metrics::histogram!(names::TRAFFIC_DURATION, &labels)
}

/// A region in a label.
fn name(region: Option<&RegionId>) -> &str {
    region.map_or("none", RegionId::as_str)
}

/// Notes a request as an example of how long answers take, if it is recorded.
fn note(routed: &Routed, took: Duration) {
    let context = Current::get().map(|it| it.context());
    if let Some(context) = context.filter(|it| it.is_sampled) {
        let region = name(routed.region.as_ref());
        let labels = [("policy", &*routed.policy), ("region", region)];
        note_exemplar(names::TRAFFIC_DURATION, &labels, took, context);
    }
}

/// Counts how near the region is that serves, among those that the policy names.
pub(super) fn count_locality(nearer: usize) {
    static SERVED: [OnceLock<Counter>; 3] = [const { OnceLock::new() }; 3];
    let at = nearer.min(SERVED.len() - 1);
    let counter = SERVED[at].get_or_init(|| {
        let served = ["nearest", "next", "farther"][at];
        metrics::counter!(names::TRAFFIC_LOCALITY, "served" => served)
    });
    counter.increment(1);
}

/// Records how long it took from a region's first bad sample to the first decision for another.
pub(super) fn failed_over(took: Duration) {
    metrics::histogram!(names::FAILOVER).record(took.as_secs_f64());
}

/// Shows a region's state.
pub(super) fn show_state(region: &RegionId, state: &'static str) {
    set_states(region, |known| known == state);
}

/// Shows that a region is in no state: the policy does not name it any more.
pub(super) fn hide_state(region: &RegionId) {
    set_states(region, |_| false);
}

fn set_states(region: &RegionId, is_in: impl Fn(&'static str) -> bool) {
    for state in REGION_STATES {
        let labels = [("region", region.to_string()), ("state", state.to_owned())];
        let is_in = f64::from(u8::from(is_in(state)));
        metrics::gauge!(names::REGION_STATE, &labels).set(is_in);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_traffic::decide::RegionReason;

    use super::*;

    fn routed(policy: &str) -> Routed {
        Routed {
            policy: policy.into(),
            proposed: None,
            region: None,
            reason: RegionReason::Hop,
        }
    }

    #[test]
    fn each_decision_has_one_series_and_what_comes_after_the_last_has_none() {
        let seen = Seen::default();
        for policy in ["a", "b", "a"] {
            seen.decided(&routed(policy));
            seen.answered(&routed(policy), Duration::ZERO);
        }
        assert_eq!(seen.known.load().len(), 2);
        let known = seen.known.load_full();
        assert!(known[&routed("a")].durations.get().is_some());
        let many = (0..SERIES_MAX).map(|number| {
            let series = known[&routed("a")].clone();
            (routed(&number.to_string()), series)
        });
        seen.known.store(Arc::new(many.collect()));
        seen.decided(&routed("a"));
        seen.answered(&routed("a"), Duration::ZERO);
        assert_eq!(seen.known.load().len(), SERIES_MAX);
    }
}
