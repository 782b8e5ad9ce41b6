use tokio::time::Instant;

use super::*;
use tidegate_model::NodeCondition;
use tidegate_model::ServerIdentity;
use tidegate_model::{Lsn, SystemId};

const PRIMARY: usize = 0;
const REPLICA: usize = 1;
const SYSTEM: SystemId = SystemId(42);

/// A primary and a replica, observed on a simulated clock.
struct Scene {
    start: Instant,
    observations: Observations,
}

impl Scene {
    fn new() -> Self {
        let settings = MonitorSettings {
            application_name: "tidegate/test".to_owned(),
            sample_interval: Duration::from_millis(250),
            sample_timeout: Duration::from_secs(1),
            max_lag: Duration::from_secs(5),
            fail_after: 3,
            pass_after: 2,
        };
        let nodes = [
            NodeId::Primary,
            NodeId::Replica("eu-west-1".parse().unwrap()),
        ];
        Self {
            start: Instant::now(),
            observations: Observations::new(nodes, &settings),
        }
    }

    /// A caught-up pair at time zero.
    fn caught_up() -> Self {
        let mut scene = Self::new();
        scene.sampled(PRIMARY, scene.primary(0, 1000));
        scene.sampled(REPLICA, scene.replica(0, 1000));
        scene
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn primary(&self, ms: u64, lsn: u64) -> Sample {
        Sample {
            sent: self.at(ms),
            received: self.at(ms),
            identity: life(5432, 1),
            in_recovery: false,
            lsn: Some(Lsn(lsn)),
            replayed: None,
            system: Some(SYSTEM),
            timeline: Some(Timeline(1)),
            receiver: Receiver::Absent,
        }
    }

    fn replica(&self, ms: u64, lsn: u64) -> Sample {
        Sample {
            identity: life(5433, 1),
            in_recovery: true,
            replayed: Some(Lsn(lsn)),
            receiver: Receiver::Streaming,
            ..self.primary(ms, lsn)
        }
    }

    fn sampled(&mut self, index: usize, sample: Sample) {
        self.observations.sampled(index, sample);
    }

    fn missed(&mut self, index: usize, times: usize) {
        for _ in 0..times {
            self.observations.missed(index);
        }
    }

    fn status(&self, index: usize) -> NodeStatus {
        self.observations.status(index)
    }

    fn condition(&self, index: usize) -> NodeCondition {
        self.status(index).condition
    }

    fn staleness(&self, index: usize, ms: u64) -> Option<Duration> {
        self.status(index).staleness(self.at(ms))
    }
}

fn life(port: i32, started_at_us: i64) -> ServerIdentity {
    ServerIdentity {
        address: None,
        port: Some(port),
        started_at_us,
    }
}

fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

#[test]
fn before_the_first_sample_everything_is_unknown() {
    let scene = Scene::new();
    let status = scene.status(REPLICA);
    assert_eq!(status.condition, NodeCondition::Unknown);
    assert_eq!((status.lag, status.position), (None, None));
    assert_eq!(scene.staleness(REPLICA, 0), None);
}

#[test]
fn a_caught_up_replica_ages_until_the_next_fence() {
    let mut scene = Scene::caught_up();
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    assert_eq!(scene.status(REPLICA).lag, ms(0));
    assert_eq!(scene.staleness(REPLICA, 240), ms(240));
    scene.sampled(PRIMARY, scene.primary(250, 1000));
    assert_eq!(scene.staleness(REPLICA, 260), ms(10));
}

#[test]
fn a_replica_that_stands_still_lags_by_the_time_since_it_fell_behind() {
    let mut scene = Scene::caught_up();
    scene.sampled(PRIMARY, scene.primary(1000, 2000));
    scene.sampled(REPLICA, scene.replica(6000, 1000));
    assert_eq!(scene.status(REPLICA).lag, ms(5000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    scene.sampled(REPLICA, scene.replica(6001, 1000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Lagging);
    assert_eq!(scene.staleness(REPLICA, 7000), ms(7000));
}

#[test]
fn without_the_primary_staleness_grows_and_lag_does_not() {
    let mut scene = Scene::caught_up();
    scene.missed(PRIMARY, 3);
    scene.sampled(REPLICA, scene.replica(60_000, 1000));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Unreachable);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    assert_eq!(scene.status(REPLICA).lag, ms(0));
    assert_eq!(scene.staleness(REPLICA, 60_000), ms(60_000));
}

#[test]
fn a_replica_without_a_primary_to_compare_with_is_unknown_and_not_fresh() {
    let mut scene = Scene::new();
    scene.sampled(REPLICA, scene.replica(0, 1000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unknown);
    assert_eq!(scene.status(REPLICA).lag, None);
    assert!(scene.status(REPLICA).position.is_some());
}

#[test]
fn a_failed_sample_lets_the_old_one_age() {
    let mut scene = Scene::caught_up();
    scene.missed(REPLICA, 2);
    scene.sampled(PRIMARY, scene.primary(1000, 2000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    assert_eq!(scene.staleness(REPLICA, 1500), ms(1500));
}

#[test]
fn three_failed_samples_make_a_node_unreachable_and_its_lag_unknown() {
    let mut scene = Scene::caught_up();
    scene.missed(REPLICA, 3);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unreachable);
    assert_eq!(scene.status(REPLICA).lag, None);
    scene.sampled(REPLICA, scene.replica(2000, 1000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unreachable);
    scene.sampled(REPLICA, scene.replica(2250, 1000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
}

#[test]
fn a_lost_connection_proves_nothing_but_does_not_make_a_node_down() {
    let mut scene = Scene::caught_up();
    scene.observations.disconnected(REPLICA);
    let status = scene.status(REPLICA);
    assert_eq!((status.identity, status.position), (None, None));
    assert_eq!(scene.staleness(REPLICA, 1), None);
    assert_eq!(
        (status.condition, status.lag),
        (NodeCondition::Fresh, ms(0))
    );
}

#[test]
fn a_replica_that_reopens_behind_is_judged_by_its_new_position() {
    let mut scene = Scene::caught_up();
    scene.sampled(PRIMARY, scene.primary(1000, 2000));
    scene.sampled(REPLICA, scene.replica(1000, 2000));
    let reopened = Sample {
        identity: life(5433, 2),
        ..scene.replica(2000, 1500)
    };
    scene.sampled(REPLICA, reopened);
    assert_eq!(scene.status(REPLICA).identity, Some(life(5433, 2)));
    assert_eq!(scene.staleness(REPLICA, 2000), ms(2000));
    assert_eq!(scene.status(REPLICA).lag, ms(1000));
}

#[test]
fn a_replica_of_another_system_is_diverged() {
    let mut scene = Scene::caught_up();
    let other = Sample {
        system: Some(SystemId(43)),
        ..scene.replica(1, 1000)
    };
    scene.sampled(REPLICA, other);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Diverged);
    assert_eq!(scene.staleness(REPLICA, 1), None);
    assert_eq!(scene.status(REPLICA).lag, None);
}

#[test]
fn a_replica_of_a_later_timeline_is_not_without_lag_and_supersedes_the_primary() {
    let mut scene = Scene::caught_up();
    let ahead = Sample {
        timeline: Some(Timeline(2)),
        ..scene.replica(1, 9000)
    };
    scene.sampled(REPLICA, ahead);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unknown);
    assert_eq!(scene.status(REPLICA).lag, None);
    assert_eq!(scene.staleness(REPLICA, 1), None);
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Diverged);
    assert!(!scene.status(PRIMARY).acts_as_primary);
    scene.sampled(PRIMARY, scene.primary(250, 9500));
    assert_eq!(scene.staleness(PRIMARY, 250), None);
}

#[test]
fn a_replica_ahead_of_a_later_fence_is_diverged_even_if_its_timeline_says_otherwise() {
    let mut scene = Scene::caught_up();
    scene.sampled(REPLICA, scene.replica(100, 9000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    scene.sampled(PRIMARY, scene.primary(250, 1000));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Diverged);
    assert_eq!(scene.staleness(REPLICA, 250), None);
}

#[test]
fn a_timeline_once_seen_is_not_forgotten_with_the_receiver() {
    let mut scene = Scene::caught_up();
    let streaming = Sample {
        timeline: Some(Timeline(2)),
        ..scene.replica(100, 900)
    };
    scene.sampled(REPLICA, streaming);
    let cut = Sample {
        receiver: Receiver::Absent,
        ..scene.replica(200, 900)
    };
    scene.sampled(REPLICA, cut);
    assert_eq!(
        scene.status(REPLICA).position.unwrap().timeline,
        Timeline(2)
    );
}

#[test]
fn a_promoted_primary_starts_new_fences() {
    let mut scene = Scene::caught_up();
    let promoted = Sample {
        timeline: Some(Timeline(2)),
        ..scene.primary(1000, 1100)
    };
    scene.sampled(PRIMARY, promoted);
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Fresh);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Diverged);
    let following = Sample {
        timeline: Some(Timeline(2)),
        ..scene.replica(1500, 1100)
    };
    scene.sampled(REPLICA, following);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    assert_eq!(scene.staleness(REPLICA, 1500), ms(500));
}

#[test]
fn a_former_primary_is_diverged_and_sets_no_fence() {
    let mut scene = Scene::caught_up();
    let promoted = Sample {
        timeline: Some(Timeline(2)),
        ..scene.primary(1000, 1100)
    };
    scene.sampled(PRIMARY, promoted);
    scene.sampled(PRIMARY, scene.primary(2000, 5000));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Diverged);
    assert_eq!(scene.staleness(PRIMARY, 2000), None);
    let following = Sample {
        timeline: Some(Timeline(2)),
        ..scene.replica(2100, 1100)
    };
    scene.sampled(REPLICA, following);
    assert_eq!(scene.staleness(REPLICA, 2100), ms(1100));
}

#[test]
fn a_replica_that_takes_writes_is_promoted_and_proves_nothing() {
    let mut scene = Scene::caught_up();
    let promoted = Sample {
        identity: life(5433, 1),
        ..scene.primary(500, 1000)
    };
    scene.sampled(REPLICA, promoted);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Promoted);
    assert_eq!(scene.staleness(REPLICA, 500), None);
}

#[test]
fn a_primary_is_not_taken_for_promoted_while_another_node_was_not_asked() {
    let mut scene = Scene::new();
    scene.sampled(PRIMARY, scene.primary(0, 1000));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Unknown);
    scene.missed(REPLICA, 1);
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Fresh);
}

#[test]
fn a_primary_in_recovery_is_diverged_and_sets_no_fence() {
    let mut scene = Scene::new();
    scene.sampled(PRIMARY, scene.replica(0, 1000));
    scene.sampled(REPLICA, scene.replica(0, 1000));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Diverged);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unknown);
}

#[test]
fn without_the_right_to_see_the_system_nothing_is_compared() {
    let mut scene = Scene::new();
    let blind = |sample: Sample| Sample {
        system: None,
        ..sample
    };
    scene.sampled(PRIMARY, blind(scene.primary(0, 1000)));
    scene.sampled(REPLICA, blind(scene.replica(0, 1000)));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Fresh);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Unknown);
    assert_eq!(scene.staleness(REPLICA, 0), None);
}

#[test]
fn a_lineage_is_that_of_the_newest_timeline_and_unread_until_learned() {
    let second = |scene: &Scene| Sample {
        timeline: Some(Timeline(2)),
        ..scene.primary(500, 3000)
    };
    let read = |timeline| TimelineHistory::parse(SYSTEM, Timeline(timeline), "1\t0/7D0").unwrap();
    let mut scene = Scene::caught_up();
    assert!(scene.observations.lineage().unwrap().is_read());
    scene.sampled(PRIMARY, second(&scene));
    assert!(!scene.observations.lineage().unwrap().is_read());
    scene.observations.learned(read(3));
    assert!(!scene.observations.lineage().unwrap().is_read());
    scene.observations.learned(read(2));
    scene.sampled(PRIMARY, second(&scene));
    scene.sampled(PRIMARY, scene.primary(750, 2500));
    assert_eq!(*scene.observations.lineage().unwrap(), read(2));
}

impl Scene {
    /// The replica after its promotion, which ended its replay at 1000.
    fn promoted(&self, ms: u64, lsn: u64) -> Sample {
        Sample {
            identity: life(5433, 1),
            timeline: Some(Timeline(2)),
            replayed: Some(Lsn(1000)),
            ..self.primary(ms, lsn)
        }
    }
}

#[test]
fn a_promoted_replica_takes_over_and_the_fences_are_its_own() {
    let mut scene = Scene::caught_up();
    scene.missed(PRIMARY, 3);
    scene.sampled(REPLICA, scene.promoted(1000, 1100));
    let status = scene.status(REPLICA);
    assert!(status.acts_as_primary && !scene.status(PRIMARY).acts_as_primary);
    assert_eq!(status.condition, NodeCondition::Fresh);
    assert_eq!(scene.staleness(REPLICA, 1500), ms(0));
    assert_eq!(scene.staleness(PRIMARY, 1500), None);

    // The former primary follows it now, under the same name as before.
    let following = Sample {
        timeline: Some(Timeline(2)),
        identity: life(5432, 2),
        ..scene.replica(2000, 1100)
    };
    scene.sampled(PRIMARY, following);
    scene.sampled(PRIMARY, following);
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Fresh);
    assert!(!scene.status(PRIMARY).acts_as_primary);
    assert_eq!(scene.staleness(PRIMARY, 2000), ms(1000));
}

#[test]
fn a_former_primary_that_lives_on_is_diverged_and_sets_no_fence_beside_the_promoted_one() {
    let mut scene = Scene::caught_up();
    scene.sampled(REPLICA, scene.promoted(1000, 1100));
    scene.sampled(PRIMARY, scene.primary(1100, 9000));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Diverged);
    assert_eq!(scene.status(PRIMARY).lag, None);
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
    assert_eq!(scene.observations.highest(), Some(Timeline(2)));
}

#[test]
fn a_replica_that_failed_before_its_promotion_counts_with_its_first_answer() {
    let mut scene = Scene::caught_up();
    scene.missed(REPLICA, 3);
    scene.sampled(REPLICA, scene.promoted(1000, 1100));
    assert_eq!(scene.condition(REPLICA), NodeCondition::Fresh);
}

#[test]
fn a_name_that_leads_to_another_server_counts_with_its_first_answer() {
    let mut scene = Scene::caught_up();
    scene.missed(PRIMARY, 3);
    scene.sampled(PRIMARY, scene.promoted(1000, 1100));
    assert_eq!(scene.condition(PRIMARY), NodeCondition::Fresh);
    assert!(scene.status(PRIMARY).acts_as_primary);
}

#[test]
fn fences_of_one_server_say_nothing_of_another_on_the_same_timeline() {
    let mut scene = Scene::caught_up();
    let other = Sample {
        identity: life(5440, 1),
        ..scene.primary(1000, 5000)
    };
    scene.sampled(PRIMARY, other);
    scene.sampled(REPLICA, scene.replica(1100, 1000));
    assert_eq!(scene.staleness(REPLICA, 1100), None);
}

#[test]
fn a_watched_promotion_tells_its_switch_point_by_any_name_of_the_server() {
    let file = TimelineHistory::parse(SYSTEM, Timeline(2), "1\t0/3E8").unwrap();
    let mut scene = Scene::caught_up();
    scene.sampled(REPLICA, scene.promoted(1000, 1100));
    assert_eq!(*scene.observations.lineage().unwrap(), file);

    let mut scene = Scene::caught_up();
    scene.sampled(PRIMARY, scene.promoted(1000, 1100));
    assert!(!scene.observations.lineage().unwrap().is_read());
    scene.sampled(REPLICA, scene.promoted(1000, 1100));
    assert_eq!(*scene.observations.lineage().unwrap(), file);
    scene.sampled(PRIMARY, scene.promoted(1250, 1200));
    assert_eq!(*scene.observations.lineage().unwrap(), file);
}

#[test]
fn a_watched_promotion_tells_its_switch_point_though_earlier_ones_are_unknown() {
    let mut scene = Scene::new();
    let on = |timeline, sample: Sample| Sample {
        timeline: Some(Timeline(timeline)),
        ..sample
    };
    scene.sampled(PRIMARY, on(4, scene.primary(0, 1000)));
    scene.sampled(REPLICA, on(4, scene.replica(0, 1000)));
    scene.sampled(REPLICA, on(5, scene.promoted(1000, 1100)));
    let lineage = scene.observations.lineage().unwrap();
    assert!(lineage.knows_its_beginning() && !lineage.is_read());
}

#[test]
fn a_promotion_that_was_not_watched_tells_nothing() {
    let mut scene = Scene::caught_up();
    let restarted = Sample {
        identity: life(5433, 2),
        ..scene.promoted(1000, 1100)
    };
    scene.sampled(REPLICA, restarted);
    assert!(scene.status(REPLICA).acts_as_primary);
    assert!(!scene.observations.lineage().unwrap().is_read());
}
