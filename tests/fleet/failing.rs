//! What gateways make of regions and ways that fail.

use std::time::Duration;

use tidegate_traffic::health::{Outcome, State};
use tidegate_traffic::plan::RegionIndex;

use crate::gateway::serving;
use crate::world::{World, only};

const LEFT_WITHIN: f64 = 1.5;

/// Long enough for everything to be reachable, and to have been so for five seconds.
const SETTLED: f64 = 10.0;

fn settled(regions: usize, gateways: usize, seed: u64) -> World {
    let mut world = World::new(regions, gateways, seed);
    world.run_secs(SETTLED);
    world
}

/// Returns how long it took until a region that swallows everything was left by all others.
pub(crate) fn left_after(seed: u64) -> Duration {
    let mut world = settled(5, 2, seed);
    world.run(Duration::from_millis(seed * 13));
    let begun = world.now;
    world.cut_off(2, true);
    world.run_secs(4.0);
    let others = world.others(2);
    let left = others.map(|at| {
        assert_eq!(world.gateways[at].away, only(2), "{at}, seed {seed}");
        world.gateways[at].changed - begun
    });
    left.max().unwrap()
}

fn transitions(world: &World) -> Vec<usize> {
    world.gateways.iter().map(|it| it.transitions).collect()
}

#[test]
fn a_region_that_swallows_everything_is_left_within_a_second_and_a_half() {
    for seed in 0..20 {
        let left = left_after(seed).as_secs_f64();
        assert!(left <= LEFT_WITHIN, "{left} s, seed {seed}");
    }
}

#[test]
fn a_region_whose_processes_are_killed_is_left_as_soon_as_the_resets_arrive() {
    let mut world = settled(4, 2, 1);
    let of = world.of(1).next().unwrap();
    for at in world.of(1) {
        world.kill(at);
    }
    let killed = world.now;
    world.run_secs(0.3);
    for at in world.others(1) {
        let way = world.way(of, at) + Duration::from_millis(2);
        assert_eq!(world.gateways[at].away, only(1));
        assert!(world.gateways[at].changed - killed <= way);
    }
}

#[test]
fn when_packets_are_lost_one_way_both_sides_leave_each_other() {
    for seed in 0..10 {
        let mut world = settled(4, 2, seed);
        let (from, to): (Vec<_>, Vec<_>) = (world.of(0).collect(), world.of(3).collect());
        world.cut(&from, &to, true);
        world.run_secs(LEFT_WITHIN);
        for (of, others) in [(0, &to), (3, &from)] {
            for at in others {
                assert_eq!(world.gateways[*at].away, only(of), "{at}, seed {seed}");
            }
        }
        for at in world.of(1).chain(world.of(2)) {
            assert!(world.gateways[at].away.is_empty());
        }
    }
}

#[test]
fn where_connecting_is_refused_one_way_only_that_side_leaves() {
    let mut world = World::new(3, 1, 3);
    world.run_secs(0.01);
    world.ways.refused.insert((0, 1));
    world.run_secs(SETTLED);
    assert_eq!(world.gateways[0].away, only(1));
    assert!(world.gateways[1].away.is_empty());
}

#[test]
fn a_way_that_flaps_every_five_seconds_makes_two_transitions_in_ten_minutes() {
    let mut world = settled(4, 1, 4);
    let before = transitions(&world);
    for _ in 0..60 {
        world.cut_off(1, true);
        world.run_secs(5.0);
        world.cut_off(1, false);
        world.run_secs(5.0);
    }
    for at in world.others(1) {
        let made = world.gateways[at].transitions - before[at];
        assert!(made <= 2, "{made} at {at}");
    }
}

#[test]
fn a_region_that_fails_every_five_seconds_makes_two_transitions_in_ten_minutes() {
    let mut world = settled(4, 1, 5);
    let before = transitions(&world);
    for _ in 0..60 {
        for errors in [0.2, 0.0] {
            for at in world.of(1) {
                world.gateways[at].own = serving(errors);
            }
            world.run_secs(5.0);
        }
    }
    for (at, before) in before.iter().enumerate() {
        let made = world.gateways[at].transitions - before;
        assert!((1..=2).contains(&made), "{made} at {at}");
    }
}

#[test]
fn when_three_of_four_others_are_silent_a_gateway_suspects_itself_and_nothing_moves() {
    let mut world = settled(5, 2, 6);
    let own: Vec<_> = world.of(0).collect();
    let silent: Vec<_> = (1..4).flat_map(|region| world.of(region)).collect();
    world.cut(&own, &silent, true);
    world.cut(&silent, &own, true);
    world.run_secs(LEFT_WITHIN);
    // The remaining region fails, and then this one: neither is left by quantities.
    for at in world.of(4).chain(world.of(0)) {
        world.gateways[at].own = serving(0.5);
    }
    world.run_secs(30.0);
    for at in own {
        let gateway = &world.gateways[at];
        assert!(gateway.fleet.suspects());
        assert!(!world.is_away(at, 4) && !world.is_away(at, 0));
        assert!((1..4).all(|region| world.is_away(at, region)));
        for region in gateway.fleet.regions().iter().skip(1) {
            assert_eq!(region.is_reachable(), region.id().as_str() == "r-04");
        }
    }
    for at in silent {
        assert!(!world.gateways[at].fleet.suspects());
        assert!(world.is_away(at, 0));
    }
}

#[test]
fn suspicion_ends_when_half_are_back() {
    let mut world = settled(5, 1, 7);
    world.cut(&[0], &[1, 2, 3], true);
    world.run_secs(3.0);
    assert!(world.gateways[0].fleet.suspects());
    world.cut(&[0], &[1], false);
    world.run_secs(8.0);
    assert!(!world.gateways[0].fleet.suspects());
}

#[test]
fn eyes_that_speak_against_most_regions_are_not_believed() {
    let mut world = settled(4, 1, 8);
    for _ in 0..40 {
        for region in 1..4 {
            world.hand(0, region, Outcome::Failed, 5);
        }
        world.run_secs(0.25);
    }
    assert!(world.gateways[0].fleet.suspects());
    assert!(world.gateways[0].away.is_empty());
}

#[test]
fn a_region_that_fails_for_this_gateway_only_is_left_by_it_only() {
    let mut world = settled(4, 1, 9);
    for _ in 0..12 {
        world.hand(0, 1, Outcome::Failed, 5);
        world.run_secs(0.25);
    }
    assert_eq!(world.gateways[0].away, only(1));
    assert!(world.others(0).all(|at| world.gateways[at].away.is_empty()));
}

/// A world in which every request fails for want of a primary.
fn without_primary(world: &mut World, gateways: impl Iterator<Item = usize>) {
    for at in gateways {
        let own = &mut world.gateways[at].own;
        own.reaches_primary = false;
        own.served.no_primary = own.served.requests / 5;
    }
}

#[test]
fn a_primary_that_every_region_lacks_moves_nothing() {
    let mut world = settled(4, 2, 10);
    let before = transitions(&world);
    let all = 0..world.gateways.len();
    without_primary(&mut world, all);
    world.run_secs(60.0);
    assert_eq!(transitions(&world), before);
}

#[test]
fn a_primary_that_one_region_lacks_makes_that_one_leave() {
    let mut world = settled(4, 2, 11);
    let own = world.of(2);
    without_primary(&mut world, own);
    world.run_secs(3.0);
    for gateway in &world.gateways {
        assert_eq!(gateway.away, only(2));
    }
}

#[test]
fn a_region_that_fails_is_left_everywhere_and_comes_back_by_probes_and_ramp() {
    let mut world = settled(4, 2, 12);
    let before = transitions(&world);
    for at in world.of(1) {
        world.gateways[at].own = serving(0.1);
    }
    world.run_secs(3.0);
    for gateway in &world.gateways {
        assert_eq!(gateway.away, only(1));
    }
    for at in world.of(1) {
        world.gateways[at].own = serving(0.0);
    }
    // Probes clear what is seen in half a minute at most; then the clause holds for a minute.
    world.run_secs(95.0);
    for gateway in &world.gateways {
        let state = gateway.judge.state(RegionIndex(1), 0);
        assert!(matches!(state, State::Ramping { .. }), "{state:?}");
    }
    world.run_secs(300.0);
    for (gateway, before) in world.gateways.iter().zip(before) {
        assert_eq!(gateway.judge.state(RegionIndex(1), 0), State::Well);
        assert_eq!(gateway.transitions - before, 2);
    }
}

#[test]
fn one_gateway_of_two_is_no_region() {
    let mut world = settled(3, 2, 13);
    let before = transitions(&world);
    world.kill(2);
    world.run_secs(30.0);
    for at in world.others(1) {
        assert_eq!(world.gateways[at].transitions, before[at]);
    }
}

#[test]
fn a_rolling_restart_makes_no_region_leave() {
    let mut world = settled(3, 2, 14);
    for at in 0..world.gateways.len() {
        world.gateways[at].own.leaving = true;
        world.run_secs(3.0);
        world.kill(at);
        world.run_secs(2.0);
        world.start(at);
        world.run_secs(10.0);
        for (other, gateway) in world.gateways.iter().enumerate() {
            assert!(gateway.away.is_empty(), "{other} of {:?}", gateway.away);
        }
    }
}

#[test]
fn a_region_that_says_nothing_leaves_by_what_is_seen_and_does_not_return_until_it_speaks() {
    let mut world = settled(4, 2, 15);
    world.ways.mute.insert(1);
    let hand = |world: &mut World, outcome, seconds: usize| {
        for _ in 0..seconds * 4 {
            world.hand(0, 1, outcome, 5);
            world.run_secs(0.25);
        }
    };
    hand(&mut world, Outcome::Served, 10);
    assert!(world.gateways[0].away.is_empty());
    hand(&mut world, Outcome::Failed, 3);
    assert_eq!(world.gateways[0].away, only(1));
    hand(&mut world, Outcome::Served, 100);
    assert_eq!(world.gateways[0].away, only(1));
    world.ways.mute.clear();
    hand(&mut world, Outcome::Served, 70);
    assert!(world.gateways[0].away.is_empty());
}
