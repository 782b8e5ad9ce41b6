//! Probes of a region that has left.

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
