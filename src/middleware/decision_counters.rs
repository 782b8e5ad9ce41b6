//! Counts decisions, with the handles made once.

use std::sync::{Arc, OnceLock};

use metrics::Counter;

use super::answer::Told;
use crate::postgres::pool::Node;
use tidegate_model::Level;
use tidegate_model::NodeId;
use tidegate_policy::Reason;
use tidegate_telemetry::names;

const LEVELS: usize = Level::ALL.len();
const REASONS: usize = Reason::Hedge as usize + 1;

/// A counter per node, level and reason.
pub struct DecisionCounters(Vec<(NodeId, Counters)>);

type Counters = Box<[[OnceLock<Counter>; REASONS]; LEVELS]>;

impl DecisionCounters {
    /// Makes none yet: most combinations never occur.
    #[must_use]
    pub fn of(nodes: &[Arc<Node>]) -> Self {
        let counters = |node: &Arc<Node>| (node.id.clone(), Counters::default());
        Self(nodes.iter().map(counters).collect())
    }

    /// Counts a request for which a node was asked.
    pub(super) fn count(&self, told: &Told<'_>) {
        if !told.asked_a_node() {
            return;
        }
        let (Some(level), Some(served)) = (told.level(), told.served) else {
            return;
        };
        if let Some((node, counters)) = self.0.iter().find(|(node, _)| *node == served.node) {
            let counter = &counters[level as usize][served.reason as usize];
            counter
                .get_or_init(|| counter_of(level, node, served.reason))
                .increment(1);
        }
    }
}

fn counter_of(level: Level, node: &NodeId, reason: Reason) -> Counter {
    let labels = [
        ("level", level.to_string()),
        ("node", node.to_string()),
        ("reason", reason.to_string()),
    ];
    metrics::counter!(names::DECISIONS, &labels)
}
