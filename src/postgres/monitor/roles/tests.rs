//! Tests of single clusters, then properties of all histories of samples.

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::postgres::monitor::facts::Receiver;
use tidegate_model::Lsn;

const SEAT: usize = 0;
const ONE: usize = 1;
const TWO: usize = 2;
const SYSTEM: SystemId = SystemId(42);

/// The part of a sample that matters for roles.
#[derive(Clone, Copy, Debug)]
struct Sight {
    server: i32,
    in_recovery: bool,
    timeline: u32,
    system: Option<u64>,
}

/// The server of this number, out of recovery.
fn open(server: i32, timeline: u32) -> Option<Sight> {
    Some(Sight {
        server,
        in_recovery: false,
        timeline,
        system: Some(SYSTEM.0),
    })
}

fn standby(server: i32, timeline: u32) -> Option<Sight> {
    open(server, timeline).map(|sight| Sight {
        in_recovery: true,
        ..sight
    })
}

fn of_system(sight: Option<Sight>, system: Option<u64>) -> Option<Sight> {
    sight.map(|sight| Sight { system, ..sight })
}

fn sample(sight: Sight) -> Sample {
    let now = Instant::now();
    Sample {
        sent: now,
        received: now,
        identity: ServerIdentity {
            address: None,
            port: Some(sight.server),
            started_at_us: 1,
        },
        in_recovery: sight.in_recovery,
        lsn: Some(Lsn(1)),
        replayed: None,
        system: sight.system.map(SystemId),
        timeline: Some(Timeline(sight.timeline)),
        receiver: Receiver::Unknown,
    }
}

/// The node at `DATABASE_URL` and two replicas.
#[derive(Default)]
struct Scene {
    roles: Roles,
    samples: [Option<Sample>; 3],
    reachable: [Option<bool>; 3],
}

impl Scene {
    /// Records one sample, or one failure too many, per node.
    fn see(&mut self, sights: [Option<Sight>; 3]) -> Acting {
        for (index, sight) in sights.into_iter().enumerate() {
            self.reachable[index] = Some(sight.is_some());
            self.samples[index] = sight.map(sample).or(self.samples[index]);
        }
        self.settle()
    }

    fn settle(&mut self) -> Acting {
        let contender = |index: usize| Contender {
            seat: index == SEAT,
            reachable: self.reachable[index],
            attempted: self.reachable[index].is_some(),
            sample: self.samples[index].as_ref(),
        };
        self.roles.settle(&[SEAT, ONE, TWO].map(contender));
        self.roles.acting()
    }
}

fn seen(sights: [Option<Sight>; 3]) -> Acting {
    Scene::default().see(sights)
}

#[test]
fn in_order_the_seat_takes_the_writes() {
    let acting = seen([open(0, 1), standby(1, 1), standby(2, 1)]);
    assert_eq!(acting, Acting::Node(SEAT));
}

#[test]
fn the_highest_timeline_takes_the_writes_whether_or_not_the_seat_lives() {
    let mut scene = Scene::default();
    scene.see([open(0, 1), standby(1, 1), standby(2, 1)]);
    assert_eq!(
        scene.see([open(0, 1), open(1, 2), standby(2, 1)]),
        Acting::Node(ONE)
    );
    assert_eq!(
        scene.see([None, open(1, 2), standby(2, 2)]),
        Acting::Node(ONE)
    );
    assert_eq!(scene.see([None, open(1, 2), open(2, 3)]), Acting::Node(TWO));
    assert_eq!(
        scene.see([open(0, 4), None, open(2, 3)]),
        Acting::Node(SEAT)
    );
}

#[test]
fn the_seat_wins_on_one_timeline() {
    assert_eq!(
        seen([open(0, 2), open(1, 2), open(2, 2)]),
        Acting::Node(SEAT)
    );
}

#[test]
fn a_later_timeline_is_never_unseen() {
    let mut scene = Scene::default();
    scene.see([open(0, 1), standby(1, 1), standby(2, 2)]);
    assert_eq!(
        scene.roles.acting(),
        Acting::Nobody,
        "a server was promoted"
    );
    assert_eq!(scene.see([open(0, 1), standby(1, 1), None]), Acting::Nobody);
    assert_eq!(scene.see([open(0, 1), open(1, 2), None]), Acting::Node(ONE));
    assert_eq!(
        scene.see([open(0, 1), None, None]),
        Acting::Node(ONE),
        "it is down"
    );
    assert_eq!(scene.see([open(0, 1), standby(1, 2), None]), Acting::Nobody);
    assert_eq!(scene.roles.highest(), Some(Timeline(2)));
}

#[test]
fn two_that_were_promoted_onto_one_timeline_are_nobody() {
    let mut scene = Scene::default();
    scene.see([open(0, 1), standby(1, 1), standby(2, 1)]);
    scene.see([None, open(1, 2), standby(2, 1)]);
    assert_eq!(scene.see([None, open(1, 2), open(2, 2)]), Acting::Ambiguous);
    assert_eq!(scene.see([None, None, open(2, 2)]), Acting::Ambiguous);
    assert_eq!(
        scene.see([None, standby(1, 2), open(2, 2)]),
        Acting::Node(TWO)
    );
}

#[test]
fn one_server_by_two_names_is_one() {
    let mut scene = Scene::default();
    scene.see([open(0, 1), standby(1, 1), standby(1, 1)]);
    assert_eq!(scene.see([None, open(1, 2), open(1, 2)]), Acting::Node(ONE));
    assert_eq!(scene.see([None, None, open(1, 2)]), Acting::Node(TWO));
    assert_eq!(
        scene.see([open(1, 2), None, open(1, 2)]),
        Acting::Node(SEAT)
    );
    assert_eq!(scene.see([None, None, open(1, 2)]), Acting::Node(TWO));
}

#[test]
fn another_server_does_not_stand_in_for_a_seat_that_is_down() {
    let mut scene = Scene::default();
    scene.see([open(0, 2), standby(1, 2), open(2, 2)]);
    assert_eq!(
        scene.see([None, standby(1, 2), open(2, 2)]),
        Acting::Node(SEAT)
    );
}

#[test]
fn another_cluster_never_takes_over() {
    let mut scene = Scene::default();
    let in_order = [open(0, 1), standby(1, 1), standby(2, 1)];
    scene.see(in_order);
    let other = of_system(open(2, 9), Some(43));
    assert_eq!(
        scene.see([open(0, 1), standby(1, 1), other]),
        Acting::Node(SEAT)
    );
    assert_eq!(scene.see([None, standby(1, 1), other]), Acting::Node(SEAT));
    let restored = of_system(open(3, 9), Some(43));
    assert_eq!(scene.see([restored, standby(1, 1), other]), Acting::Nobody);
    assert_eq!(scene.see([restored, open(1, 2), other]), Acting::Node(ONE));
    assert_eq!(scene.roles.highest(), Some(Timeline(2)));
}

#[test]
fn nobody_acts_before_all_were_asked() {
    let mut scene = Scene::default();
    scene.samples[SEAT] = open(0, 1).map(sample);
    scene.reachable[SEAT] = Some(true);
    assert_eq!(scene.settle(), Acting::Nobody);
    scene.reachable = [Some(true), Some(false), Some(false)];
    assert_eq!(scene.settle(), Acting::Node(SEAT));
}

#[test]
fn where_the_seat_never_answered_the_others_must_agree() {
    assert_eq!(seen([None, open(1, 2), standby(2, 1)]), Acting::Node(ONE));
    assert_eq!(seen([None, open(1, 2), None]), Acting::Node(ONE));
    let other = of_system(standby(2, 1), Some(43));
    assert_eq!(seen([None, open(1, 2), other]), Acting::Nobody);
    let never_promoted = open(1, 1);
    assert_eq!(seen([None, never_promoted, None]), Acting::Nobody);
}

#[test]
fn a_role_that_may_not_identify_the_system_has_the_seat_alone() {
    let blind = |sight| of_system(sight, None);
    let sights = [blind(open(0, 1)), blind(open(1, 2)), blind(standby(2, 3))];
    let mut scene = Scene::default();
    assert_eq!(scene.see(sights), Acting::Node(SEAT));
    assert_eq!(
        scene.see([blind(open(0, 2)), None, None]),
        Acting::Node(SEAT)
    );
    assert_eq!(scene.see([blind(open(3, 1)), None, None]), Acting::Nobody);
}

fn any_sight() -> impl Strategy<Value = Option<Sight>> {
    let system = prop_oneof![8 => Just(Some(42)), 1 => Just(Some(43)), 1 => Just(None)];
    let sight = (0..4, any::<bool>(), 1..5_u32, system);
    let sight = sight.prop_map(|(server, in_recovery, timeline, system)| Sight {
        server,
        in_recovery,
        timeline,
        system,
    });
    proptest::option::weighted(0.8, sight)
}

fn any_history() -> impl Strategy<Value = Vec<[Option<Sight>; 3]>> {
    proptest::collection::vec([any_sight(), any_sight(), any_sight()], 1..12)
}

proptest! {
    #[test]
    fn who_acts_is_open_and_on_the_latest_timeline_ever_seen(history in any_history()) {
        let mut scene = Scene::default();
        let mut highest = None;
        for sights in history {
            scene.see(sights);
            let member = |sample: &&Sample| {
                sample.system.is_some() && sample.system == scene.roles.system()
            };
            let timelines = scene.samples.iter().flatten().filter(member);
            highest = highest.max(timelines.filter_map(|sample| sample.timeline).max());
            prop_assert!(scene.roles.highest() >= highest);
            if let Acting::Node(index) = scene.roles.acting() {
                let sample = scene.samples[index].as_ref().unwrap();
                prop_assert!(!sample.in_recovery);
                prop_assert_eq!(sample.timeline, scene.roles.highest());
                prop_assert!(sample.timeline >= highest);
                prop_assert!(index == SEAT || sample.system == scene.roles.system());
            }
        }
    }

    #[test]
    fn the_cluster_and_the_latest_timeline_are_kept(history in any_history()) {
        let mut scene = Scene::default();
        let mut before = (None, None);
        for sights in history {
            scene.see(sights);
            let now = (scene.roles.system(), scene.roles.highest());
            prop_assert!(before.0.is_none() || now.0 == before.0);
            prop_assert!(now.1 >= before.1);
            before = now;
        }
    }

    #[test]
    fn two_servers_never_act_where_names_differ_in_order(
        history in any_history(), swap in any::<bool>(),
    ) {
        // The replicas' order depends on distance and differs between gateways.
        let (mut here, mut there) = (Scene::default(), Scene::default());
        let server = |scene: &Scene| match scene.roles.acting() {
            Acting::Node(index) => scene.samples[index].map(|sample| sample.identity),
            Acting::Nobody | Acting::Ambiguous => None,
        };
        for sights in history {
            let [seat, one, two] = sights;
            here.see(sights);
            there.see(if swap { [seat, two, one] } else { sights });
            prop_assert_eq!(server(&here), server(&there));
        }
    }
}
