//! Counts decisions; each counter handle is created once.

use std::sync::{Arc, OnceLock};

use metrics::Counter;

use super::account::{AccountView, NodeRole};
use tidegate_model::Level;
use tidegate_policy::Reason;
use tidegate_telemetry::names;

const LEVELS: usize = Level::ALL.len();
const REASONS: usize = Reason::Hedge as usize + 1;

/// A counter per node, level and reason.
pub struct DecisionCounters(Vec<(Arc<str>, Counters)>);

type Counters = Box<[[OnceLock<Counter>; REASONS]; LEVELS]>;

impl DecisionCounters {
    /// Creates no handles yet: most combinations never occur.
    pub fn of(nodes: impl Iterator<Item = Arc<str>>) -> Self {
        Self(nodes.map(|node| (node, Counters::default())).collect())
    }

    /// Counts a request for which a node of the database was contacted.
    pub(super) fn count(&self, account: &AccountView<'_>) {
        if !account.asked_a_node() {
            return;
        }
        let served = account.served.filter(|it| it.role != NodeRole::Upstream);
        let (Some(level), Some(served)) = (account.level(), served) else {
            return;
        };
        let Some(reason) = served.reason else { return };
        if let Some((node, counters)) = self.0.iter().find(|(node, _)| *node == served.node) {
            let counter = &counters[level as usize][reason as usize];
            counter
                .get_or_init(|| counter_of(level, node, reason))
                .increment(1);
        }
    }
}

fn counter_of(level: Level, node: &str, reason: Reason) -> Counter {
    let labels = [
        ("level", level.to_string()),
        ("node", node.to_owned()),
        ("reason", reason.to_string()),
    ];
    metrics::counter!(names::DECISIONS, &labels)
}
