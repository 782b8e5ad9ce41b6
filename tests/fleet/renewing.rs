//! Connections that are made anew, and tunnels that are opened when the others are crowded.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_fleet::{ConnectionId, Output};

use crate::world::World;

fn settled(regions: usize, gateways: usize, seed: u64) -> World {
    let mut world = World::new(regions, gateways, seed);
    world.run_secs(10.0);
    world
}

fn dialled(world: &World) -> BTreeSet<ConnectionId> {
    world.gateways[0].dialled.keys().copied().collect()
}

fn tunnels(world: &World, region: usize) -> Vec<ConnectionId> {
    world.gateways[0].fleet.regions()[region]
        .tunnels()
        .collect()
}

fn renew(world: &mut World) {
    let gateway = &mut world.gateways[0];
    let now = gateway.time(world.now);
    gateway.fleet.renewed(now);
}

#[test]
fn after_a_renewal_every_connection_has_a_successor_within_a_minute_and_none_is_missed() {
    for gateways in [1, 2, 4] {
        let mut world = settled(4, gateways, 21);
        let (before, moved) = (dialled(&world), world.gateways[0].transitions);
        renew(&mut world);
        let mut busiest = 0;
        for _ in 0..600 {
            world.run(Duration::from_millis(100));
            assert!((1..4).all(|region| tunnels(&world, region).len() >= 2));
            busiest = busiest.max(dialled(&world).len());
        }
        let after = dialled(&world);
        assert_eq!(after.len(), before.len());
        assert!(after.is_disjoint(&before), "{gateways}");
        assert_eq!(world.gateways[0].transitions, moved);
        assert!(busiest <= before.len() + 4, "{busiest}: not one by one");
    }
}

#[test]
fn a_renewed_connection_without_a_successor_stays_for_most_of_a_minute() {
    let mut world = settled(3, 1, 22);
    world.ways.refused.insert((0, 1));
    renew(&mut world);
    world.run_secs(50.0);
    assert!(!tunnels(&world, 1).is_empty());
    world.run_secs(10.0);
    assert!(tunnels(&world, 1).is_empty());
    assert_eq!(tunnels(&world, 2).len(), 2);
}

#[test]
fn a_connection_whose_peer_counts_no_more_ends_when_its_successor_stands_or_has_failed() {
    for refused in [false, true] {
        let mut world = settled(3, 1, 23);
        if refused {
            world.ways.refused.insert((0, 1));
        }
        let old = tunnels(&world, 1)[0];
        let gateway = &mut world.gateways[0];
        let now = gateway.time(world.now);
        gateway.fleet.unverified(old, now);
        world.run_secs(1.0);
        assert!(!tunnels(&world, 1).contains(&old));
        assert_eq!(tunnels(&world, 1).len(), if refused { 1 } else { 2 });
    }
}

#[test]
fn a_tunnel_that_its_peer_ends_is_replaced_at_once() {
    let mut world = settled(3, 1, 24);
    world.run_secs(5.0);
    let old = tunnels(&world, 1)[0];
    let gateway = &mut world.gateways[0];
    let now = gateway.time(world.now);
    let mut out = Vec::new();
    gateway.fleet.ended(old, now, &mut out);
    let dials = |it: &Output| matches!(it, Output::Dial { .. });
    assert_eq!(out.iter().filter(|it| dials(it)).count(), 1);
    assert_eq!(tunnels(&world, 1).len(), 1);
}

#[test]
fn crowded_tunnels_get_others_up_to_eight_which_end_a_minute_after_the_crowd() {
    for gateways in [1, 3] {
        let mut world = settled(3, gateways, 25);
        let region = world.regions[1].clone();
        for _ in 0..100 {
            let gateway = &mut world.gateways[0];
            let now = gateway.time(world.now);
            gateway.fleet.crowded(&region, true, now);
            world.run(Duration::from_millis(50));
        }
        let eight = tunnels(&world, 1);
        assert_eq!(eight.len(), 8);
        assert_eq!(tunnels(&world, 2).len(), 2);
        // Some of them go on to be needed.
        for _ in 0..70 {
            let gateway = &mut world.gateways[0];
            let now = gateway.time(world.now);
            gateway.fleet.crowded(&region, false, now);
            world.run_secs(1.0);
        }
        assert_eq!(tunnels(&world, 1), eight);
        world.run_secs(58.0);
        assert_eq!(tunnels(&world, 1).len(), 8);
        world.run_secs(4.0);
        assert_eq!(tunnels(&world, 1).len(), 2);
    }
}

#[test]
fn of_two_gateways_the_one_that_can_be_reached_has_all_tunnels() {
    let mut world = settled(3, 2, 26);
    let tunnels_open = |world: &World| tunnels(world, 1).len();
    assert_eq!(tunnels_open(&world), 2);
    let gone = world.of(1).next().unwrap();
    world.kill(gone);
    world.run_secs(5.0);
    assert_eq!(tunnels_open(&world), 2);
}
