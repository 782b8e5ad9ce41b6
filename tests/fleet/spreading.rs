//! How fast a change is known everywhere, and what it costs.

use std::time::Duration;

use tidegate_fleet::{GatewayConditions, Purpose};

use crate::gateway::{NO_WINDOW, serving};
use crate::world::World;

const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

/// What is added to a way: jitter, and the step inside a region to the gateway that passes it on.
const JITTER: Duration = Duration::from_millis(2);

#[test]
fn every_gateway_knows_every_other_within_a_second_of_the_start() {
    let mut world = World::new(5, 3, 1);
    world.run_secs(1.0);
    let ids: Vec<_> = world.gateways.iter().map(|it| it.fleet.id()).collect();
    for gateway in &world.gateways {
        for id in &ids {
            assert!(*id == gateway.fleet.id() || gateway.knows(*id).is_some());
        }
        assert!(gateway.away.is_empty(), "{:?}", gateway.away);
    }
}

/// Returns how much longer than the way it takes at most until a change is known everywhere.
pub(crate) fn slowest_beside_the_way() -> Duration {
    let mut world = World::new(6, 4, 2);
    world.run_secs(10.0);
    let mut slowest = Duration::ZERO;
    for of in 0..world.gateways.len() {
        world.gateways[of].own.saturation_pct = 90;
        let changed = |record: &tidegate_fleet::Record| record.digest.saturation_pct() == 90;
        let arrived = world.arrivals(of, changed, Duration::from_millis(613));
        assert_eq!(arrived.len(), world.gateways.len() - 1);
        let beside = arrived.iter().map(|(at, took)| *took - world.way(of, *at));
        slowest = slowest.max(beside.max().unwrap());
    }
    slowest
}

#[test]
fn a_change_is_known_everywhere_within_the_way_and_50_ms() {
    let slowest = slowest_beside_the_way();
    assert!(slowest <= LOOKED_AT_EVERY + JITTER, "{slowest:?}");
}

#[test]
fn a_change_gets_through_where_packets_are_lost() {
    for seed in 0..5 {
        let mut world = World::new(4, 3, seed);
        world.ways.loss = 0.02;
        world.ways.jitter = Duration::from_millis(30);
        world.run_secs(20.0);
        world.gateways[4].own.reaches_primary = false;
        let changed =
            |record: &tidegate_fleet::Record| !record.conditions.has(GatewayConditions::PRIMARY);
        let arrived = world.arrivals(4, changed, Duration::from_secs(3));
        assert_eq!(arrived.len(), world.gateways.len() - 1, "seed {seed}");
    }
}

/// Returns the length of the longest Update with one record.
pub(crate) fn longest_update() -> usize {
    let mut world = World::new(2, 1, 3);
    for gateway in &mut world.gateways {
        gateway.own.revision = u32::MAX;
        gateway
            .fleet
            .drain(Duration::from_secs(86_400), Duration::from_secs(1));
    }
    world.run_secs(65.0);
    let longest = world.connections.iter().map(|it| it.longest).max();
    longest.unwrap()
}

#[test]
fn an_update_with_one_record_has_64_bytes_at_most() {
    let longest = longest_update();
    assert!(longest <= 64, "{longest}");
}

/// Returns the bytes that the costliest stream between regions took in a second, over some time.
fn bytes_a_second(world: &mut World, seconds: u64, mut change: impl FnMut(&mut World)) -> f64 {
    let before: Vec<_> = world.connections.iter().map(|it| it.bytes).collect();
    for _ in 0..seconds * 20 {
        change(world);
        world.run(Duration::from_millis(50));
    }
    let between = world.connections.iter().zip(&before);
    let between = between.filter(|(connection, _)| {
        let [from, to] = connection
            .sides
            .map(|side| world.gateways[side.gateway].region);
        connection.purpose == Purpose::Control && from != to
    });
    let bytes = between.map(|(connection, before)| connection.bytes - before);
    bytes.max().unwrap() as f64 / seconds as f64
}

pub(crate) fn bytes_when_nothing_changes() -> f64 {
    let mut world = World::new(3, 4, 4);
    world.run_secs(5.0);
    bytes_a_second(&mut world, 60, |_| {})
}

pub(crate) fn bytes_when_everything_changes(gateways: usize) -> f64 {
    let mut world = World::new(2, gateways, 5);
    world.run_secs(5.0);
    bytes_a_second(&mut world, 30, |world| {
        for at in 0..world.gateways.len() {
            let errors = world.rng.f64() / 100.0;
            world.gateways[at].own = serving(errors);
            world.gateways[at].own.saturation_pct = world.rng.u8(0..=100);
        }
    })
}

#[test]
fn a_peer_costs_100_bytes_a_second_when_nothing_changes() {
    let bytes = bytes_when_nothing_changes();
    assert!(bytes <= 100.0, "{bytes}");
}

#[test]
fn a_peer_costs_a_kibibyte_a_second_when_everything_changes_all_the_time() {
    for gateways in [1, 4, 8] {
        let bytes = bytes_when_everything_changes(gateways);
        assert!(bytes <= 1_024.0, "{bytes} with {gateways}");
    }
}

#[test]
fn regions_are_near_by_their_round_trips() {
    let mut world = World::new(5, 1, 9);
    world.run_secs(5.0);
    let gateway = &world.gateways[2];
    let near = gateway.judge.conditions(&gateway.fleet, NO_WINDOW).near;
    let mut expected: Vec<_> = (0..5).collect();
    expected.sort_by_key(|at| {
        if *at == 2 {
            Duration::ZERO
        } else {
            world.way(2, *at)
        }
    });
    let near: Vec<_> = near.iter().map(|region| region.get()).collect();
    assert_eq!(near, expected);
}

#[test]
fn each_gateway_has_two_connections_and_two_tunnels_to_a_region_and_one_to_each_sibling() {
    for (gateways, to_region) in [(1, 3), (2, 4), (4, 4)] {
        let mut world = World::new(4, gateways, 6);
        world.run_secs(2.0);
        for gateway in &world.gateways {
            for region in gateway.fleet.regions().iter().skip(1) {
                assert_eq!(region.connections(), to_region);
                assert_eq!(region.tunnels().count(), 2);
            }
            let siblings = gateway.fleet.regions()[0].connections();
            assert_eq!(siblings, gateways - 1);
        }
    }
}

#[test]
fn a_gateway_that_restarts_is_a_new_one_and_the_old_one_is_forgotten() {
    let mut world = World::new(3, 3, 7);
    world.run_secs(5.0);
    let old = world.gateways[4].fleet.id();
    world.kill(4);
    world.run_secs(4.0);
    for gateway in world.gateways.iter().filter(|it| it.up) {
        assert!(gateway.knows(old).is_none());
    }
    world.start(4);
    world.run_secs(8.0);
    let new = world.gateways[4].fleet.id();
    for at in world.others(1) {
        assert!(world.gateways[at].knows(new).is_some());
        assert!(world.gateways[at].away.is_empty());
    }
}
