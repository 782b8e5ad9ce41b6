//! What was served at each level, from two pages of metrics.

use tidegate_model::Level;
use tidegate_telemetry::{Interval, names};

/// The answers of one level over an interval.
#[derive(Clone, Debug)]
pub(super) struct LevelRow {
    pub(super) level: &'static str,
    /// Answers per second.
    pub(super) rps: f64,
    /// The share that a node of this region or memory has given, 0 to 1; none without answers.
    pub(super) local: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

/// One row per level.
pub(super) fn level_rows(interval: Interval<'_>) -> Vec<LevelRow> {
    let row = |level: Level| {
        let level = level.as_str();
        let count = format!("{}_count", names::LEVEL_DURATION);
        let rps = interval.rate(&count, &[("level", level)]);
        let elsewhere = interval.rate(&count, &[("level", level), ("served", "elsewhere")]);
        let quantile = |quantile| {
            let seconds = interval.quantile(names::LEVEL_DURATION, &[("level", level)], quantile);
            seconds.map(|seconds| seconds * 1_000.0)
        };
        LevelRow {
            level,
            rps,
            local: (rps > 0.0).then(|| 1.0 - elsewhere / rps),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    };
    Level::ALL.map(row).to_vec()
}
