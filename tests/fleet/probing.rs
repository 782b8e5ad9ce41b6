//! Probes of a region that has left.

use std::time::Duration;

use tidegate_fleet::Own;
use tidegate_traffic::health::Summary;

use crate::gateway::serving;
use crate::world::World;

#[test]
fn all_gateways_together_ask_a_region_that_has_left_25_times_a_second() {
    for gateways in [1, 2, 6] {
        let mut world = World::new(4, gateways, 1);
        world.run_secs(10.0);
        let probes = |world: &World| -> u64 { world.gateways.iter().map(|it| it.probes).sum() };
        assert_eq!(probes(&world), 0);
        for at in world.of(1) {
            world.gateways[at].own = serving(0.3);
        }
        world.run_secs(5.0);
        let before = probes(&world);
        world.run_secs(40.0);
        let rate = (probes(&world) - before) as f64 / 40.0;
        // Its own gateways do not ask it.
        assert!(
            (25.0 * 0.70..=25.0).contains(&rate),
            "{rate} with {gateways}"
        );
    }
}

#[test]
fn a_region_without_requests_of_others_returns_for_its_own_clients_too() {
    for gateways in [1, 2] {
        let mut world = World::new(3, gateways, 2);
        world.run_secs(10.0);
        for at in world.of(1) {
            world.gateways[at].own = serving(0.3);
        }
        world.run_secs(5.0);
        let all = 0..world.gateways.len();
        assert!(all.clone().all(|at| world.is_away(at, 1)));
        // Well again, and without a request: nobody had handed anything there, and it sends its own away.
        for at in world.of(1) {
            world.gateways[at].own = Own {
                served: Summary {
                    window: Duration::from_secs(2),
                    ..Summary::default()
                },
                ..serving(0.0)
            };
        }
        world.run_secs(55.0);
        assert!(all.clone().all(|at| world.is_away(at, 1)));
        world.run_secs(45.0);
        assert!(all.clone().all(|at| !world.is_away(at, 1)));
    }
}

#[test]
fn a_region_whose_application_still_fails_does_not_return_for_its_own_clients() {
    let mut world = World::new(3, 1, 3);
    world.run_secs(10.0);
    world.gateways[1].own = serving(0.3);
    world.run_secs(200.0);
    assert!((0..3).all(|at| world.is_away(at, 1)));
}
