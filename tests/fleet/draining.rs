//! Drains: one operator's word, kept by the region's gateways.

use std::time::Duration;

use crate::world::{World, only};

fn drain(world: &mut World, gateway: usize, seconds: u64) {
    let now = world.gateways[gateway].time(world.now);
    let fleet = &mut world.gateways[gateway].fleet;
    fleet.drain(Duration::from_secs(seconds), now);
}

fn all_see(world: &World, drained: bool) -> bool {
    let mut gateways = world.gateways.iter().filter(|it| it.up);
    gateways.all(|it| it.away.has(tidegate_traffic::plan::RegionIndex(1)) == drained)
}

#[test]
fn a_drain_is_known_everywhere_and_ends_by_itself() {
    let mut world = World::new(4, 3, 1);
    world.run_secs(10.0);
    drain(&mut world, 3, 60);
    world.run_secs(0.3);
    for gateway in &world.gateways {
        assert_eq!(gateway.away, only(1));
    }
    // Seconds are whole ones, rounded down.
    world.run_secs(58.0);
    assert!(all_see(&world, true));
    world.run_secs(4.0);
    assert!(all_see(&world, false));
}

#[test]
fn it_is_ended_by_another_gateway_and_begun_again() {
    let mut world = World::new(4, 3, 2);
    world.run_secs(10.0);
    drain(&mut world, 3, 600);
    world.run_secs(1.0);
    drain(&mut world, 4, 0);
    world.run_secs(1.0);
    assert!(all_see(&world, false));
    drain(&mut world, 5, 600);
    world.run_secs(1.0);
    assert!(all_see(&world, true));
}

#[test]
fn it_outlives_a_rolling_restart_and_does_not_become_longer_by_it() {
    let mut world = World::new(3, 3, 3);
    world.run_secs(10.0);
    drain(&mut world, 4, 120);
    world.run_secs(10.0);
    for at in [3, 4, 5, 3, 4, 5] {
        world.kill(at);
        world.run_secs(1.0);
        world.start(at);
        world.run_secs(9.0);
        assert!(all_see(&world, true));
    }
    world.run_secs(48.0);
    assert!(all_see(&world, true));
    world.run_secs(8.0);
    assert!(all_see(&world, false));
}

#[test]
fn it_lasts_while_none_of_its_gateways_can_be_heard() {
    let mut world = World::new(3, 1, 4);
    world.run_secs(10.0);
    drain(&mut world, 1, 600);
    world.run_secs(5.0);
    world.cut_off(1, true);
    world.run_secs(10.0);
    let gateway = &world.gateways[0];
    assert!(gateway.knows(world.gateways[1].fleet.id()).is_none());
    assert!(gateway.fleet.is_draining(&world.regions[1]));
}

#[test]
fn a_region_all_of_whose_gateways_leave_is_draining() {
    let mut world = World::new(3, 2, 5);
    world.run_secs(10.0);
    world.gateways[2].own.leaving = true;
    world.run_secs(1.0);
    assert!(all_see(&world, false));
    world.gateways[3].own.leaving = true;
    world.run_secs(1.0);
    assert!(all_see(&world, true));
}
