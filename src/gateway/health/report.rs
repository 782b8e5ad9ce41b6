//! The report of `/health/edge`: pure, from the monitor's statuses.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use tidegate_model::RegionId;
use tidegate_model::{NodeCondition, NodeStatus};

/// The facts that determine the report.
#[derive(Clone, Copy, Debug)]
pub struct HealthFacts<'a> {
    /// The region of this process.
    pub region: &'a RegionId,
    /// What is known about the primary; while there is none, about the node at `DATABASE_URL`.
    pub primary: &'a NodeStatus,
    /// What is known about this region's replica, if there is one.
    pub replica: Option<&'a NodeStatus>,
    /// Whether every monitor task runs.
    pub monitor_alive: bool,
    /// Whether this process is draining.
    pub draining: bool,
    /// Whether the primary or this region's replica takes no connection for requests.
    pub shut_out: bool,
    /// Greatest healthy lag.
    pub max_lag: Duration,
    /// Whether this gateway suspects itself; `None` without a fleet.
    pub suspects: Option<bool>,
}

/// Whether this region should get traffic. As JSON it stays below 1 KiB.
#[derive(Debug, Serialize)]
pub struct HealthReport<'a> {
    status: &'static str,
    region: &'a str,
    /// A number with three decimals, or null while unknown; 0 without a replica.
    replication_lag_secs: Option<Box<RawValue>>,
    checks: Checks,
}

/// One entry per thing that can fail.
#[derive(Debug, Serialize)]
struct Checks {
    primary: NodeCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<NodeCheck>,
    lag: LagCheck,
    monitor: Check,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Check>,
    /// A gateway that suspects itself still serves: this is never a reason to send it no requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<NodeCheck>,
}

#[derive(Debug, Serialize)]
struct NodeCheck {
    ok: bool,
    condition: &'static str,
}

#[derive(Debug, Serialize)]
struct LagCheck {
    ok: bool,
    max_secs: f64,
}

#[derive(Debug, Serialize)]
struct Check {
    ok: bool,
}

impl<'a> HealthReport<'a> {
    /// Judges the facts.
    pub fn new(facts: &HealthFacts<'a>) -> Self {
        let lag = match facts.replica {
            Some(replica) => replica.lag,
            None => Some(Duration::ZERO),
        };
        let checks = Checks::new(facts, lag);
        Self {
            status: if checks.all_ok() {
                "healthy"
            } else {
                "unhealthy"
            },
            region: facts.region.as_str(),
            replication_lag_secs: lag.and_then(three_decimals),
            checks,
        }
    }

    /// Returns whether every check passed.
    pub fn is_healthy(&self) -> bool {
        self.checks.all_ok()
    }

    /// Returns whether it lacks a primary alone. How far its replica is behind one is not known then.
    pub fn lacks_only_primary(&self) -> bool {
        !self.checks.primary.ok && self.checks.others_ok()
    }
}

impl Checks {
    fn new(facts: &HealthFacts<'_>, lag: Option<Duration>) -> Self {
        Self {
            primary: NodeCheck {
                ok: facts.primary.acts_as_primary
                    && facts.primary.condition == NodeCondition::Fresh,
                condition: facts.primary.condition.as_str(),
            },
            replica: facts.replica.map(|replica| NodeCheck {
                ok: serves(replica.condition),
                condition: replica.condition.as_str(),
            }),
            lag: LagCheck {
                ok: lag.is_some_and(|lag| lag <= facts.max_lag),
                max_secs: facts.max_lag.as_secs_f64(),
            },
            monitor: Check {
                ok: facts.monitor_alive,
            },
            drain: facts.draining.then_some(Check { ok: false }),
            connections: facts.shut_out.then_some(Check { ok: false }),
            fleet: facts.suspects.map(|suspects| NodeCheck {
                ok: true,
                condition: if suspects { "suspect" } else { "well" },
            }),
        }
    }

    fn all_ok(&self) -> bool {
        self.primary.ok && self.lag.ok && self.others_ok()
    }

    /// Whether all is well but for what depends on the primary.
    fn others_ok(&self) -> bool {
        self.replica.as_ref().is_none_or(|replica| replica.ok)
            && self.monitor.ok
            && self.drain.is_none()
            && self.connections.is_none()
    }
}

/// Returns whether a replica passes its own check. Lag has a separate check, and without a receiver
/// the data counts as fresh unless the lag is too high.
fn serves(condition: NodeCondition) -> bool {
    match condition {
        NodeCondition::Fresh | NodeCondition::Lagging | NodeCondition::Disconnected => true,
        NodeCondition::Diverged
        | NodeCondition::Promoted
        | NodeCondition::Unreachable
        | NodeCondition::Unknown => false,
    }
}

fn three_decimals(duration: Duration) -> Option<Box<RawValue>> {
    let text = match duration.as_millis() {
        0 => "0".to_owned(),
        ms => format!("{}.{:03}", ms / 1000, ms % 1000),
    };
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::NodeId;

    struct Scene {
        region: RegionId,
        primary: NodeStatus,
        replica: Option<NodeStatus>,
        monitor_alive: bool,
        draining: bool,
        shut_out: bool,
    }

    impl Scene {
        fn healthy() -> Self {
            let region: RegionId = "eu-west-1".parse().unwrap();
            let fresh = |node| NodeStatus {
                condition: NodeCondition::Fresh,
                lag: Some(Duration::ZERO),
                ..NodeStatus::unknown(node)
            };
            Self {
                primary: NodeStatus {
                    acts_as_primary: true,
                    ..fresh(NodeId::Primary)
                },
                replica: Some(fresh(NodeId::Replica(region.clone()))),
                region,
                monitor_alive: true,
                draining: false,
                shut_out: false,
            }
        }

        fn with_replica(condition: NodeCondition, lag_ms: Option<u64>) -> Self {
            let mut scene = Self::healthy();
            let replica = scene.replica.as_mut().unwrap();
            replica.condition = condition;
            replica.lag = lag_ms.map(Duration::from_millis);
            scene
        }

        fn facts(&self) -> HealthFacts<'_> {
            HealthFacts {
                region: &self.region,
                primary: &self.primary,
                replica: self.replica.as_ref(),
                monitor_alive: self.monitor_alive,
                draining: self.draining,
                shut_out: self.shut_out,
                max_lag: Duration::from_secs(5),
                suspects: None,
            }
        }

        fn report(&self) -> (bool, String) {
            let report = HealthReport::new(&self.facts());
            (report.is_healthy(), serde_json::to_string(&report).unwrap())
        }

        /// The same scene after the primary was lost.
        fn without_primary(mut self) -> Self {
            self.primary.condition = NodeCondition::Unreachable;
            self
        }

        fn lacks_only_primary(&self) -> bool {
            HealthReport::new(&self.facts()).lacks_only_primary()
        }
    }

    fn assert_report(scene: &Scene, healthy: bool, lag: &str) {
        let (is_healthy, body) = scene.report();
        let status = if healthy { "healthy" } else { "unhealthy" };
        let start = format!(
            r#"{{"status":"{status}","region":"eu-west-1","replication_lag_secs":{lag},"checks":{{"#
        );
        assert!(body.starts_with(&start), "{body}");
        assert_eq!(is_healthy, healthy);
        assert!(body.len() < 1024);
    }

    #[test]
    fn a_healthy_region_says_so_with_its_lag() {
        assert_report(&Scene::healthy(), true, "0");
        let scene = Scene::with_replica(NodeCondition::Fresh, Some(212));
        assert_report(&scene, true, "0.212");
        let scene = Scene::with_replica(NodeCondition::Fresh, Some(1020));
        assert_report(&scene, true, "1.020");
    }

    #[test]
    fn without_a_replica_there_is_no_lag() {
        let scene = Scene {
            replica: None,
            ..Scene::healthy()
        };
        assert_report(&scene, true, "0");
        assert!(!scene.report().1.contains("replica\":"));
    }

    #[test]
    fn lag_is_healthy_up_to_the_limit() {
        let scene = Scene::with_replica(NodeCondition::Fresh, Some(5000));
        assert_report(&scene, true, "5.000");
        let scene = Scene::with_replica(NodeCondition::Lagging, Some(5001));
        assert_report(&scene, false, "5.001");
    }

    #[test]
    fn a_missing_receiver_alone_is_no_failure() {
        let scene = Scene::with_replica(NodeCondition::Disconnected, Some(0));
        assert_report(&scene, true, "0");
    }

    #[test]
    fn unknown_lag_is_null_and_unhealthy() {
        for condition in [
            NodeCondition::Unknown,
            NodeCondition::Unreachable,
            NodeCondition::Diverged,
            NodeCondition::Promoted,
        ] {
            assert_report(&Scene::with_replica(condition, None), false, "null");
        }
    }

    #[test]
    fn a_primary_that_takes_no_writes_is_unhealthy() {
        for condition in NodeCondition::ALL {
            let mut scene = Scene::healthy();
            scene.primary.condition = condition;
            assert_report(&scene, condition == NodeCondition::Fresh, "0");
        }
    }

    #[test]
    fn a_region_that_lacks_the_primary_alone_is_told_apart() {
        assert!(!Scene::healthy().lacks_only_primary());
        assert!(Scene::healthy().without_primary().lacks_only_primary());
        for lag_ms in [Some(9_000), None] {
            let scene = Scene::with_replica(NodeCondition::Disconnected, lag_ms);
            assert!(!scene.lacks_only_primary());
            assert!(scene.without_primary().lacks_only_primary());
        }
        let no_database = Scene {
            replica: None,
            ..Scene::healthy()
        };
        assert!(no_database.without_primary().lacks_only_primary());
        let lost = Scene::with_replica(NodeCondition::Unreachable, None);
        assert!(!lost.without_primary().lacks_only_primary());
        let draining = Scene {
            draining: true,
            ..Scene::healthy()
        };
        assert!(!draining.without_primary().lacks_only_primary());
    }

    #[test]
    fn a_dead_monitor_is_unhealthy_whatever_it_last_said() {
        let scene = Scene {
            monitor_alive: false,
            ..Scene::healthy()
        };
        assert_report(&scene, false, "0");
    }

    #[test]
    fn a_draining_process_is_unhealthy() {
        let scene = Scene {
            draining: true,
            ..Scene::healthy()
        };
        assert_report(&scene, false, "0");
        assert!(scene.report().1.contains(r#""drain":{"ok":false}"#));
    }

    #[test]
    fn a_server_that_takes_no_connection_for_requests_is_unhealthy() {
        let scene = Scene {
            shut_out: true,
            ..Scene::healthy()
        };
        assert_report(&scene, false, "0");
        assert!(scene.report().1.contains(r#""connections":{"ok":false}"#));
    }

    #[test]
    fn the_body_is_small_and_complete() {
        let (_, body) = Scene::with_replica(NodeCondition::Lagging, Some(7_000)).report();
        assert_eq!(
            body,
            r#"{"status":"unhealthy","region":"eu-west-1","replication_lag_secs":7.000,"#
                .to_owned()
                + r#""checks":{"primary":{"ok":true,"condition":"fresh"},"#
                + r#""replica":{"ok":true,"condition":"lagging"},"#
                + r#""lag":{"ok":false,"max_secs":5.0},"monitor":{"ok":true}}}"#
        );
    }
}
