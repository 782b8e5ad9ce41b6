//! The state as rows of text: pure.

use super::look::Look;
use crate::gateway::admin::{NodeEntry, RegionEntry, UpstreamNodeEntry};
use crate::gateway::levels::{LevelRow, level_rows};
use crate::gateway::use_of::use_of;
use crate::storage::BucketSeen;
use tidegate_telemetry::{Interval, names};

/// Rows below a header.
pub(super) struct Table<const COLUMNS: usize> {
    pub(super) header: [&'static str; COLUMNS],
    /// The column whose word says how well the row is.
    pub(super) standing: Option<usize>,
    pub(super) rows: Vec<[String; COLUMNS]>,
}

const STANDING: Option<usize> = Some(2);

const REGIONS: [&str; 14] = [
    "REGION", "NODES", "STATE", "SINCE", "GATEWAYS", "TUNNELS", "LATENCY", "REQ/S", "ERRORS",
    "P99", "BUSY", "LAG", "DRAINED", "REVISION",
];

/// The name of a counter, its metric, and the labels of its series.
type Counter = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// The counters since the gateway started.
const COUNTERS: [Counter; 6] = [
    ("switches", names::STEERING_SWITCHES, &[]),
    ("retries", names::RETRIES, &[]),
    ("hedges", names::HEDGES, &[]),
    ("budget spent", names::RETRY_BUDGET_SPENT, &[]),
    ("spilled", names::SPILL, &[("result", "served")]),
    ("spill refused", names::SPILL, &[("result", "refused")]),
];

/// One line about the whole gateway.
pub(super) fn title(look: &Look) -> String {
    let topology = &look.topology;
    let spill = topology.spill;
    format!(
        "tidegate {}   spill {}/{}",
        topology.region, spill.active, spill.concurrency_max
    )
}

/// One line with the counters.
pub(super) fn counters(look: &Look) -> String {
    let count = |(label, metric, labels): &Counter| {
        let count = look.metrics.sum(metric, labels).unwrap_or(0.0);
        format!("{label} {count:.0}")
    };
    COUNTERS.iter().map(count).collect::<Vec<_>>().join("   ")
}

/// The nodes of the database in the order in which they are tried; rates need the previous state.
pub(super) fn nodes(look: &Look, before: Option<&Look>) -> Table<10> {
    let nodes = look.topology.nodes.iter();
    Table {
        header: [
            "NODE",
            "ROLE",
            "STANDING",
            "BREAKER",
            "CONDITION",
            "LATENCY",
            "LAG",
            "CONNS",
            "REQ/S",
            "WHY",
        ],
        standing: STANDING,
        rows: nodes.map(|node| node_row(node, look, before)).collect(),
    }
}

fn node_row(node: &NodeEntry, look: &Look, before: Option<&Look>) -> [String; 10] {
    let connections = node.connections;
    [
        node.node.clone(),
        node.role.clone(),
        node.standing.clone(),
        node.breaker.clone(),
        node.condition.clone(),
        format!("{:.1} ms", node.latency_ms),
        node.lag_secs
            .map_or_else(unknown, |lag| format!("{lag:.3} s")),
        format!(
            "{}/{}",
            connections.open - connections.idle.min(connections.open),
            connections.open
        ),
        rate(names::DECISIONS, &[("node", &node.node)], look, before),
        node.why.clone(),
    ]
}

/// The nodes of every upstream, in the same way; empty if there is none.
pub(super) fn upstreams(look: &Look, before: Option<&Look>) -> Table<9> {
    let mut rows = Vec::new();
    for upstream in &look.topology.upstreams {
        let row = |node| upstream_row(&upstream.upstream, node, look, before);
        rows.extend(upstream.nodes.iter().map(row));
    }
    Table {
        header: [
            "UPSTREAM", "NODE", "STANDING", "BREAKER", "REGION", "LATENCY", "ACTIVE", "REQ/S",
            "WHY",
        ],
        standing: STANDING,
        rows,
    }
}

fn upstream_row(
    upstream: &str,
    node: &UpstreamNodeEntry,
    look: &Look,
    before: Option<&Look>,
) -> [String; 9] {
    let answered = [
        ("upstream", upstream),
        ("node", &node.node),
        ("outcome", "answered"),
    ];
    [
        upstream.to_owned(),
        node.node.clone(),
        node.standing.clone(),
        node.breaker.clone(),
        node.region.clone().unwrap_or_else(unknown),
        format!("{:.1} ms", node.latency_ms),
        node.under_way.to_string(),
        rate(names::UPSTREAM_REQUESTS, &answered, look, before),
        node.why.clone(),
    ]
}

/// What was served at each level since the previous state; LOCAL is the share of a node of the gateway's
/// region and of memory.
pub(super) fn levels(look: &Look, before: Option<&Look>) -> Table<5> {
    let rows = before.map(|before| level_rows(interval(before, look)));
    let millis = |value: Option<f64>| value.map_or_else(unknown, |it| format!("{it:.1} ms"));
    let row = |row: LevelRow| {
        let local = row.local.map(|it| format!("{:.0} %", it * 100.0));
        [
            row.level.to_owned(),
            format!("{:.1}", row.rps),
            local.unwrap_or_else(unknown),
            millis(row.p50_ms),
            millis(row.p99_ms),
        ]
    };
    Table {
        header: ["LEVEL", "REQ/S", "LOCAL", "P50", "P99"],
        standing: None,
        rows: rows.unwrap_or_default().into_iter().map(row).collect(),
    }
}

/// The regions of the traffic policy; empty without one.
pub(super) fn regions(look: &Look) -> Table<14> {
    let regions = look.topology.regions.iter();
    Table {
        header: REGIONS,
        standing: STANDING,
        rows: regions.map(region_row).collect(),
    }
}

fn region_row(region: &RegionEntry) -> [String; 14] {
    let millis = |value: Option<f64>| value.map_or_else(unknown, |it| format!("{it:.1} ms"));
    let percent =
        |value: Option<f64>| value.map_or_else(unknown, |it| format!("{:.1} %", it * 100.0));
    let count = |value: Option<usize>| value.map_or_else(unknown, |it| it.to_string());
    let drained = region.drained_for_s.filter(|it| *it > 0);
    let revision = region.revision.map(|it| it.to_string());
    // It counts for more than any bound; a region without a database has none.
    let lag = match region.is_lag_unknown() {
        true => "?".to_owned(),
        false => millis(region.lag_ms),
    };
    [
        region.region.clone(),
        region.nodes.to_string(),
        region.state.clone(),
        format!("{:.0} s", region.since_s),
        count(region.gateways),
        count(region.tunnels),
        millis(region.round_trip_ms),
        format!("{:.1}", region.rps),
        percent(region.errors),
        millis(region.p99_ms),
        percent(region.saturation),
        lag,
        drained.map_or_else(unknown, |it| format!("{it} s")),
        revision.unwrap_or_else(unknown),
    ]
}

/// The buckets of object storage; empty without it.
pub(super) fn buckets(look: &Look) -> Table<8> {
    let buckets = look.topology.buckets.iter();
    Table {
        header: [
            "BUCKET", "PROVIDER", "STATUS", "LATENCY", "WRITES", "MONTH", "HELD", "BEHIND",
        ],
        standing: STANDING,
        rows: buckets.map(bucket_row).collect(),
    }
}

fn bucket_row(bucket: &BucketSeen) -> [String; 8] {
    let writes = if bucket.writes { "yes" } else { "no" };
    // What a mirror should have by now, and since when.
    let late = bucket.mirror_late_seconds.unwrap_or_default();
    let behind = bucket
        .mirror_backlog
        .map_or_else(unknown, |blobs| match blobs {
            0 => "0".to_owned(),
            blobs => format!("{blobs}, {late:.0} s"),
        });
    [
        bucket.bucket.clone(),
        bucket.provider.clone(),
        bucket.status.clone(),
        format!("{:.1} ms", bucket.latency_ms),
        writes.to_owned(),
        use_of(bucket.written_bytes, bucket.soft_limit_bytes),
        use_of(bucket.held_bytes, bucket.quota_bytes),
        behind,
    ]
}

/// Answers per second.
fn rate(metric: &str, labels: &[(&str, &str)], look: &Look, before: Option<&Look>) -> String {
    let rate = before.map(|before| interval(before, look).rate(metric, labels));
    rate.map_or_else(unknown, |rate| format!("{rate:.1}"))
}

fn interval<'a>(before: &'a Look, after: &'a Look) -> Interval<'a> {
    Interval {
        before: &before.metrics,
        after: &after.metrics,
        seconds: after.at.duration_since(before.at).as_secs_f64(),
    }
}

fn unknown() -> String {
    "-".to_owned()
}

/// The whole state as plain text.
pub(super) fn text(look: &Look, before: Option<&Look>) -> String {
    let (title, counters) = (title(look), counters(look));
    let (nodes, upstreams) = (nodes(look, before), upstreams(look, before));
    let mut text = format!("{title}\n{counters}\n\n{}", nodes.text());
    let levels = levels(look, before);
    if !levels.rows.is_empty() {
        text.push('\n');
        text.push_str(&levels.text());
    }
    if !upstreams.rows.is_empty() {
        text.push('\n');
        text.push_str(&upstreams.text());
    }
    let regions = regions(look);
    if !regions.rows.is_empty() {
        text.push('\n');
        text.push_str(&regions.text());
    }
    let buckets = buckets(look);
    if !buckets.rows.is_empty() {
        text.push('\n');
        text.push_str(&buckets.text());
    }
    text
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    fn text(&self) -> String {
        let widths = self.widths();
        let header = self.header.map(str::to_owned);
        let line = |cells: &[String; COLUMNS]| {
            let padded = cells.iter().zip(widths);
            let padded: Vec<_> = padded
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        std::iter::once(&header)
            .chain(&self.rows)
            .map(line)
            .collect()
    }

    /// The width that each column needs.
    pub(super) fn widths(&self) -> [usize; COLUMNS] {
        std::array::from_fn(|column| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.fold(self.header[column].len(), usize::max)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_of_a_region_is_that_of_its_state() {
        assert_eq!(STANDING.map(|column| REGIONS[column]), Some("STATE"));
    }

    #[test]
    fn a_lag_that_is_unknown_does_not_look_like_none() {
        let shown = |lag_ms: Option<f64>, lag: &str| {
            let region = serde_json::json!({
                "region": "us-east-1", "state": "well", "since_s": 1.0, "nodes": 1, "round_trip_ms": null,
                "rps": 0.0, "errors": null, "p99_ms": null, "lag_ms": lag_ms, "lag": lag, "capacity_rps": null,
            });
            let region: RegionEntry = serde_json::from_value(region).unwrap();
            let column = REGIONS.iter().position(|it| *it == "LAG");
            region_row(&region)[column.unwrap()].clone()
        };
        assert_eq!(shown(Some(7.0), "known"), "7.0 ms");
        assert_eq!(shown(None, "unknown"), "?");
        assert_eq!(shown(None, "none"), "-");
    }
}
