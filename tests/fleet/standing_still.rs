//! Processes that stand still: their clock jumps, and they have heard nothing meanwhile.

use std::time::Duration;

use crate::world::World;

#[test]
fn a_gateway_that_stood_still_leaves_no_region_for_that() {
    let mut world = World::new(5, 2, 1);
    world.run_secs(10.0);
    for seconds in [1, 3, 8] {
        let before = world.gateways[0].transitions;
        world.stand_still(0, Duration::from_secs(seconds));
        world.run_secs(30.0);
        assert_eq!(world.gateways[0].transitions, before);
        assert!(!world.gateways[0].fleet.suspects());
    }
}

#[test]
fn others_leave_a_region_that_stands_still_and_take_it_back() {
    let mut world = World::new(4, 1, 2);
    world.run_secs(10.0);
    world.stand_still(1, Duration::from_secs(4));
    world.run_secs(2.0);
    assert!(world.others(1).all(|at| world.is_away(at, 1)));
    world.run_secs(90.0);
    assert!(world.others(1).all(|at| !world.is_away(at, 1)));
}

#[test]
fn clocks_that_show_different_times_do_not_matter() {
    let mut world = World::new(3, 2, 3);
    for (at, gateway) in world.gateways.iter_mut().enumerate() {
        gateway.clock = Duration::from_secs(at as u64 * 40_000_000);
    }
    world.run_secs(60.0);
    for gateway in &world.gateways {
        assert!(gateway.away.is_empty());
    }
}

#[test]
fn a_clock_that_jumps_ahead_moves_nothing() {
    let mut world = World::new(4, 2, 4);
    world.run_secs(10.0);
    let before: Vec<_> = world.gateways.iter().map(|it| it.transitions).collect();
    for jump in [1, 60, 100_000] {
        for at in [0, 5] {
            world.gateways[at].clock += Duration::from_secs(jump);
        }
        world.run_secs(10.0);
    }
    let after: Vec<_> = world.gateways.iter().map(|it| it.transitions).collect();
    assert_eq!(before, after);
}
