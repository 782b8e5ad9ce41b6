//! What is served per second, from two pages of metrics.

use std::collections::HashMap;

use crate::gateway::levels::{LevelRow, level_rows};
use tidegate_telemetry::{Interval, names};

/// The rates over the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) levels: Vec<LevelRow>,
    /// Answers of nodes of the database.
    pub(super) served: Vec<ServedRate>,
    /// Decisions of the traffic policy, most frequent first.
    pub(super) moves: Vec<MoveRate>,
    pub(super) errors: f64,
    pub(super) cached: f64,
    pub(super) cacheable: f64,
    pub(super) hedges: f64,
    pub(super) hedges_won: f64,
    pub(super) retries: f64,
    pub(super) sheds: f64,
    /// Requests above a rate limit.
    pub(super) limited: f64,
    pub(super) spilled: f64,
    /// None where no storage request has ever gone on with another bucket.
    pub(super) storage_fallbacks: Option<f64>,
}

/// Answers of one node at one level for one reason.
#[derive(Clone, Debug)]
pub(super) struct ServedRate {
    pub(super) level: String,
    pub(super) node: String,
    pub(super) reason: String,
    pub(super) rps: f64,
}

/// Decisions of one policy for one region.
#[derive(Clone, Debug)]
pub(super) struct MoveRate {
    pub(super) policy: String,
    pub(super) proposed: String,
    pub(super) region: String,
    pub(super) reason: String,
    pub(super) rps: f64,
}

/// The metrics that rates are made of; no other is kept.
pub(super) const METRICS: [&str; 11] = [
    names::LEVEL_DURATION,
    names::DECISIONS,
    names::TRAFFIC_DECISIONS,
    names::REQUESTS,
    names::CACHE_REQUESTS,
    names::HEDGES,
    names::RETRIES,
    names::SHEDS,
    names::RATE_LIMITED,
    names::SPILL,
    names::STORAGE_FALLBACKS,
];

impl Rates {
    pub(super) fn of(interval: Interval<'_>) -> Self {
        let rate = |metric| interval.rate(metric, &[]);
        let labelled = |metric, label| interval.rate(metric, &[label]);
        let hits = ["hit", "stale", "stale-if-error", "collapsed"];
        let hits = hits.map(|it| labelled(names::CACHE_REQUESTS, ("result", it)));
        Self {
            levels: level_rows(interval),
            served: served(interval),
            moves: moves(interval),
            errors: errors(interval),
            cached: hits.iter().sum(),
            cacheable: rate(names::CACHE_REQUESTS)
                - labelled(names::CACHE_REQUESTS, ("result", "bypass")),
            hedges: rate(names::HEDGES),
            hedges_won: labelled(names::HEDGES, ("won", "second")),
            retries: rate(names::RETRIES),
            sheds: rate(names::SHEDS),
            limited: rate(names::RATE_LIMITED),
            spilled: labelled(names::SPILL, ("result", "served")),
            storage_fallbacks: interval
                .after
                .sum(names::STORAGE_FALLBACKS, &[])
                .map(|_| rate(names::STORAGE_FALLBACKS)),
        }
    }

    /// Answers per second of one node.
    pub(super) fn of_node(&self, node: &str) -> f64 {
        let served = self.served.iter().filter(|it| it.node == node);
        served.map(|it| it.rps).sum()
    }

    /// Decisions per second for one region.
    pub(super) fn of_region(&self, region: &str) -> f64 {
        let moves = self.moves.iter().filter(|it| it.region == region);
        moves.map(|it| it.rps).sum()
    }

    /// Whether there were two pages to compare.
    pub(super) fn are_known(&self) -> bool {
        !self.levels.is_empty()
    }
}

fn served(interval: Interval<'_>) -> Vec<ServedRate> {
    let rates = most_frequent(interval, names::DECISIONS, "node").into_iter();
    let served = rates.map(|(mut labels, rps)| {
        let mut label = |name| labels.remove(name).unwrap_or_default();
        ServedRate {
            level: label("level"),
            node: label("node"),
            reason: label("reason"),
            rps,
        }
    });
    served.collect()
}

fn moves(interval: Interval<'_>) -> Vec<MoveRate> {
    let rates = most_frequent(interval, names::TRAFFIC_DECISIONS, "policy").into_iter();
    let moves = rates.map(|(mut labels, rps)| {
        let mut label = |name| labels.remove(name).unwrap_or_default();
        MoveRate {
            policy: label("policy"),
            proposed: label("proposed"),
            region: label("region"),
            reason: label("reason"),
            rps,
        }
    });
    moves.collect()
}

/// The series that grew, fastest first; equally fast ones by a label.
fn most_frequent(
    interval: Interval<'_>,
    metric: &str,
    label: &str,
) -> Vec<(HashMap<String, String>, f64)> {
    let mut rates = interval.rates(metric);
    rates.sort_by(|(a, a_rps), (b, b_rps)| {
        b_rps
            .total_cmp(a_rps)
            .then_with(|| a.get(label).cmp(&b.get(label)))
    });
    rates
}

/// Answers with a status of 500 and above.
fn errors(interval: Interval<'_>) -> f64 {
    let rates = interval.rates(names::REQUESTS).into_iter();
    let errors = rates.filter(|(labels, _)| {
        let status = labels.get("status");
        status.is_some_and(|status| status.starts_with('5'))
            // A probe that says "unhealthy" is no failed request.
            && labels.get("endpoint").is_none_or(|it| !it.starts_with("/health/"))
    });
    errors.map(|(_, rps)| rps).sum()
}
