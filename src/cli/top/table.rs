//! One look as rows of text: pure.

use super::look::Look;
use crate::admin::NodeEntry;
use crate::telemetry::names;

pub(super) const COLUMNS: usize = 10;

pub(super) const HEADER: [&str; COLUMNS] = [
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
];

/// How a counter is called, its metric, and the labels of its series.
type Counter = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// What is counted since the gateway started.
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

/// One line of what has happened so far.
pub(super) fn counters(look: &Look) -> String {
    let count = |(label, metric, labels): &Counter| {
        let count = look.metrics.sum(metric, labels).unwrap_or(0.0);
        format!("{label} {count:.0}")
    };
    COUNTERS.iter().map(count).collect::<Vec<_>>().join("   ")
}

/// A row for each node, in the order in which they are asked; the one of before gives the rates.
pub(super) fn rows(look: &Look, before: Option<&Look>) -> Vec<[String; COLUMNS]> {
    let nodes = look.topology.nodes.iter();
    nodes.map(|node| row(node, look, before)).collect()
}

fn row(node: &NodeEntry, look: &Look, before: Option<&Look>) -> [String; COLUMNS] {
    let connections = node.connections;
    let rate = before.and_then(|before| rate(&node.node, look, before));
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
        rate.map_or_else(unknown, |rate| format!("{rate:.1}")),
        node.why.clone(),
    ]
}

/// Answers of a node a second.
fn rate(node: &str, look: &Look, before: &Look) -> Option<f64> {
    let answers = |look: &Look| look.metrics.sum(names::DECISIONS, &[("node", node)]);
    let seconds = look.at.duration_since(before.at).as_secs_f64();
    let more = answers(look).unwrap_or(0.0) - answers(before).unwrap_or(0.0);
    (seconds > 0.0).then_some(more.max(0.0) / seconds)
}

fn unknown() -> String {
    "-".to_owned()
}

/// The whole look as plain text.
pub(super) fn text(look: &Look, before: Option<&Look>) -> String {
    let rows = rows(look, before);
    let widths = widths(&rows);
    let header = HEADER.map(str::to_owned);
    let line = |cells: &[String; COLUMNS]| {
        let padded = cells.iter().zip(widths);
        let padded: Vec<_> = padded
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let lines = std::iter::once(&header).chain(&rows);
    let table: Vec<_> = lines.map(line).collect();
    format!(
        "{}\n{}\n\n{}\n",
        title(look),
        counters(look),
        table.join("\n")
    )
}

/// How wide each column must be.
pub(super) fn widths(rows: &[[String; COLUMNS]]) -> [usize; COLUMNS] {
    std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.fold(HEADER[column].len(), usize::max)
    })
}
