//! What is served per second, from two pages of metrics.

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
            cacheable: rate(names::CACHE_REQUESTS),
            hedges: rate(names::HEDGES),
            hedges_won: labelled(names::HEDGES, ("won", "second")),
            retries: rate(names::RETRIES),
            sheds: rate(names::SHEDS),
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
    let rates = interval.rates(names::DECISIONS).into_iter();
    let mut served: Vec<_> = rates
        .map(|(mut labels, rps)| {
            let mut label = |name| labels.remove(name).unwrap_or_default();
            ServedRate {
                level: label("level"),
                node: label("node"),
                reason: label("reason"),
                rps,
            }
        })
        .collect();
    served.sort_by(|a, b| b.rps.total_cmp(&a.rps).then_with(|| a.node.cmp(&b.node)));
    served
}

fn moves(interval: Interval<'_>) -> Vec<MoveRate> {
    let rates = interval.rates(names::TRAFFIC_DECISIONS).into_iter();
    let mut moves: Vec<_> = rates
        .map(|(mut labels, rps)| {
            let mut label = |name| labels.remove(name).unwrap_or_default();
            MoveRate {
                policy: label("policy"),
                proposed: label("proposed"),
                region: label("region"),
                reason: label("reason"),
                rps,
            }
        })
        .collect();
    moves.sort_by(|a, b| {
        b.rps
            .total_cmp(&a.rps)
            .then_with(|| a.policy.cmp(&b.policy))
    });
    moves
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
