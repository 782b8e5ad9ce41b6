//! Reports on the nodes for operators: log lines on changes, and gauges.

use std::time::Duration;

use tokio::time::Instant;

use crate::postgres::monitor::Knowledge;
use crate::postgres::monitor::roles::Acting;
use tidegate_model::{NodeCondition, NodeStatus};
use tidegate_telemetry::names;

/// Logs which node takes the writes when that changes.
pub(super) fn log_roles(before: &Knowledge, after: &Knowledge) {
    if (before.acting, before.timeline) == (after.acting, after.timeline) {
        return;
    }
    let timeline = after.timeline.map(|timeline| timeline.0);
    let name = |knowledge: &Knowledge| knowledge.primary().map(|status| status.node.to_string());
    let (from, to) = (name(before), name(after));
    let address = after.primary().and_then(|status| status.last_identity);
    let address = address.map(tracing::field::display);
    match after.acting {
        Acting::Node(_) if before.lineage.is_none() => {
            tracing::info!(to, timeline, address, "the primary is known");
        }
        Acting::Node(_) if before.timeline == after.timeline => {
            tracing::warn!(from, to, timeline, address, "writes go to this node now");
        }
        Acting::Node(_) => {
            tracing::warn!(
                from,
                to,
                timeline,
                address,
                "a promotion was seen: writes go to this node now"
            );
        }
        Acting::Ambiguous => tracing::error!(
            from,
            timeline,
            "several servers were promoted onto one timeline and cannot be distinguished: no writes or \
             strong reads are served until all but one are removed from the topology or \
             DATABASE_URL leads to one of them"
        ),
        Acting::Nobody if before.acting == Acting::Nobody && before.lineage.is_none() => {}
        Acting::Nobody => tracing::warn!(
            from,
            timeline,
            "there is no primary: no known node is out of recovery on this timeline"
        ),
    }
}

/// Logs that a node's condition has changed, if it has.
pub(super) fn log_condition(before: NodeCondition, status: &NodeStatus, reason: &str) {
    let (node, condition) = (status.node.as_str(), status.condition.as_str());
    if before == status.condition {
        return;
    }
    if status.condition == NodeCondition::Fresh {
        tracing::info!(node, condition, %before, "node is healthy");
    } else {
        let reason = match reason.is_empty() {
            true => meaning(status.condition),
            false => reason,
        };
        tracing::warn!(node, condition, %before, reason, "node is not healthy");
    }
}

/// Says what a condition means, where nothing more is known.
fn meaning(condition: NodeCondition) -> &'static str {
    match condition {
        NodeCondition::Fresh => "it answers and is not behind",
        NodeCondition::Lagging => "it is further behind than max_lag",
        NodeCondition::Disconnected => "it has no live WAL receiver",
        NodeCondition::Diverged => "its history is not the primary's",
        NodeCondition::Promoted => "it is out of recovery, although it is not the primary",
        NodeCondition::Unreachable => "it does not answer",
        NodeCondition::Unknown => "there is nothing to compare it with",
    }
}

/// Unknown is NaN: any number would be misread as a value.
pub(super) fn measure(status: &NodeStatus, now: Instant) {
    let seconds = |duration: Option<Duration>| duration.map_or(f64::NAN, |d| d.as_secs_f64());
    let node = status.node.as_str();
    let gauge = |name: &'static str, value: f64| {
        metrics::gauge!(name, "node" => node.to_owned()).set(value);
    };
    gauge(names::REPLICATION_LAG, seconds(status.lag));
    gauge(names::STALENESS, seconds(status.staleness(now)));
    let acts = f64::from(u8::from(status.acts_as_primary));
    gauge(names::NODE_ACTS_AS_PRIMARY, acts);
    for condition in NodeCondition::ALL {
        let holds = f64::from(u8::from(condition == status.condition));
        metrics::gauge!(
            names::NODE_CONDITION,
            "node" => node.to_owned(),
            "condition" => condition.as_str()
        )
        .set(holds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_a_meaning_of_its_own() {
        let meanings = NodeCondition::ALL.map(meaning);
        for (index, text) in meanings.iter().enumerate() {
            assert!(
                !text.is_empty() && !meanings[..index].contains(text),
                "{text}"
            );
        }
    }
}
