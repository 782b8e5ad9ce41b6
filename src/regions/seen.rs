//! Decisions as metrics.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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

/// A policy, and the region that has served.
type Served = (Box<str>, Option<RegionId>);

/// The handles of the series that were needed.
#[derive(Default)]
pub(super) struct Seen {
    decisions: Mutex<HashMap<Routed, Counter>>,
    durations: Mutex<HashMap<Served, Histogram>>,
}

impl Seen {
    /// Counts a decision that is acted upon.
    pub(super) fn decided(&self, routed: &Routed) {
        let mut known = lock(&self.decisions);
        if let Some(counter) = known.get(routed) {
            return counter.increment(1);
        }
        let name =
            |region: &Option<RegionId>| region.as_ref().map_or("none", RegionId::as_str).to_owned();
        let is_full = known.len() >= SERIES_MAX;
        let labels = match is_full {
            false => [
                routed.policy.to_string(),
                name(&routed.proposed),
                name(&routed.region),
            ],
            true => ["other", "other", "other"].map(str::to_owned),
        };
        let [policy, proposed, region] = labels;
        let labels = [
            ("policy", policy),
            ("proposed", proposed),
            ("region", region),
            ("reason", routed.reason.to_string()),
        ];
        let counter = metrics::counter!(names::TRAFFIC_DECISIONS, &labels);
        counter.increment(1);
        if !is_full {
            known.insert(routed.clone(), counter);
            if known.len() == SERIES_MAX {
                tracing::warn!("too many series of decisions: others count as policy=other");
            }
        }
    }

    /// Records how long an answer took.
    pub(super) fn answered(&self, routed: &Routed, took: Duration) {
        let mut known = lock(&self.durations);
        let key = (Box::from(&*routed.policy), routed.region.clone());
        if known.len() >= SERIES_MAX && !known.contains_key(&key) {
            return;
        }
        let histogram = known.entry(key).or_insert_with_key(|(policy, region)| {
            let region = region.as_ref().map_or("none", RegionId::as_str);
            let labels = [
                ("policy", policy.to_string()),
                ("region", region.to_owned()),
            ];
            metrics::histogram!(names::TRAFFIC_DURATION, &labels)
        });
        histogram.record(took.as_secs_f64());
        drop(known);
        note(routed, took);
    }
}

/// Notes a request as an example of how long answers take, if it is recorded.
fn note(routed: &Routed, took: Duration) {
    let context = Current::get().map(|it| it.context());
    if let Some(context) = context.filter(|it| it.is_sampled) {
        let region = routed.region.as_ref().map_or("none", RegionId::as_str);
        let labels = [("policy", &*routed.policy), ("region", region)];
        note_exemplar(names::TRAFFIC_DURATION, &labels, took, context);
    }
}

/// Counts how near the region is that serves, among those that the policy names.
pub(super) fn count_locality(nearer: usize) {
    let served = match nearer {
        0 => "nearest",
        1 => "next",
        _ => "farther",
    };
    metrics::counter!(names::TRAFFIC_LOCALITY, "served" => served).increment(1);
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

fn lock<T>(known: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while the lock is held loses a count at worst.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
