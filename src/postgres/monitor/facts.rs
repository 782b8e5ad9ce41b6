//! The facts that determine the condition of a node.

use std::time::Duration;

use tidegate_model::NodeCondition;

/// The facts that determine the condition of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether it takes the writes.
    pub(super) primary: bool,
    /// Whether it is known which node does: every node has been asked.
    pub(super) settled: bool,
    /// Whether it is reachable, by the hysteresis over samples; none until there are enough
    /// samples.
    pub(super) reachable: Option<bool>,
    /// From its newest sample; none before the first.
    pub(super) in_recovery: Option<bool>,
    pub(super) history: History,
    pub(super) receiver: Receiver,
    /// None if it cannot be known.
    pub(super) lag: Option<Duration>,
}

/// How a node's history relates to the primary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum History {
    Same,
    Other,
    Unknown,
}

/// Whether a replica has a live WAL receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiver {
    Streaming,
    Absent,
    /// The monitor's role may not see it.
    Unknown,
}

impl Facts {
    /// Returns the most severe condition that holds.
    pub(super) fn condition(&self, max_lag: Duration) -> NodeCondition {
        match (self.reachable, self.in_recovery) {
            (Some(false), _) => NodeCondition::Unreachable,
            (None, _) | (_, None) => NodeCondition::Unknown,
            (Some(true), Some(_)) if self.primary => NodeCondition::Fresh,
            (Some(true), Some(false)) if self.history == History::Other => NodeCondition::Diverged,
            // It may well be the primary.
            (Some(true), Some(false)) if !self.settled => NodeCondition::Unknown,
            (Some(true), Some(false)) => NodeCondition::Promoted,
            (Some(true), Some(true)) => self.of_replica(max_lag),
        }
    }

    fn of_replica(&self, max_lag: Duration) -> NodeCondition {
        match (self.history, self.lag) {
            (History::Other, _) => NodeCondition::Diverged,
            (History::Unknown, _) | (_, None) => NodeCondition::Unknown,
            (History::Same, Some(lag)) if lag > max_lag => NodeCondition::Lagging,
            (History::Same, Some(_)) => match self.receiver {
                Receiver::Absent => NodeCondition::Disconnected,
                Receiver::Streaming | Receiver::Unknown => NodeCondition::Fresh,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(5);
    const REPLICA: Facts = Facts {
        primary: false,
        settled: true,
        reachable: Some(true),
        in_recovery: Some(true),
        history: History::Same,
        receiver: Receiver::Streaming,
        lag: Some(Duration::ZERO),
    };
    const PRIMARY: Facts = Facts {
        primary: true,
        in_recovery: Some(false),
        ..REPLICA
    };

    fn assert_condition(facts: Facts, expected: NodeCondition) {
        assert_eq!(facts.condition(MAX_LAG), expected, "{facts:?}");
    }

    #[test]
    fn a_node_in_order_is_fresh() {
        assert_condition(REPLICA, NodeCondition::Fresh);
        assert_condition(PRIMARY, NodeCondition::Fresh);
    }

    #[test]
    fn lag_counts_only_above_the_limit() {
        let lagging = |lag| Facts {
            lag: Some(lag),
            ..REPLICA
        };
        assert_condition(lagging(MAX_LAG), NodeCondition::Fresh);
        let above = MAX_LAG + Duration::from_nanos(1);
        assert_condition(lagging(above), NodeCondition::Lagging);
    }

    #[test]
    fn lag_is_graver_than_a_missing_receiver() {
        let facts = Facts {
            receiver: Receiver::Absent,
            ..REPLICA
        };
        assert_condition(facts, NodeCondition::Disconnected);
        let facts = Facts {
            lag: Some(MAX_LAG * 2),
            ..facts
        };
        assert_condition(facts, NodeCondition::Lagging);
    }

    #[test]
    fn a_receiver_that_may_not_be_seen_is_not_missing() {
        let facts = Facts {
            receiver: Receiver::Unknown,
            ..REPLICA
        };
        assert_condition(facts, NodeCondition::Fresh);
    }

    #[test]
    fn unknown_lag_is_not_zero() {
        let facts = Facts {
            lag: None,
            ..REPLICA
        };
        assert_condition(facts, NodeCondition::Unknown);
    }

    #[test]
    fn another_history_is_diverged_whatever_the_lag() {
        for lag in [None, Some(Duration::ZERO), Some(MAX_LAG * 2)] {
            let facts = Facts {
                history: History::Other,
                lag,
                ..REPLICA
            };
            assert_condition(facts, NodeCondition::Diverged);
        }
    }

    #[test]
    fn a_replica_that_takes_writes_is_promoted() {
        let facts = Facts {
            in_recovery: Some(false),
            ..REPLICA
        };
        assert_condition(facts, NodeCondition::Promoted);
    }

    #[test]
    fn a_superseded_primary_is_diverged() {
        let superseded = Facts {
            primary: false,
            history: History::Other,
            ..PRIMARY
        };
        assert_condition(superseded, NodeCondition::Diverged);
    }

    #[test]
    fn reachability_comes_first() {
        for facts in [REPLICA, PRIMARY] {
            let down = Facts {
                reachable: Some(false),
                ..facts
            };
            assert_condition(down, NodeCondition::Unreachable);
            let unknown = Facts {
                reachable: None,
                ..facts
            };
            assert_condition(unknown, NodeCondition::Unknown);
        }
    }
}
