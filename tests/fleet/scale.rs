//! Fifty regions of four gateways: what a fleet of that size costs each of them.
#![allow(
    clippy::print_stdout,
    reason = "the table is what the measurement is for"
)]

use std::time::Duration;

use tidegate_fleet::Purpose;

use crate::gateway::serving;
use crate::world::World;
use crate::{failing, spreading};

/// What one gateway has and does, once the fleet has settled.
struct Row {
    regions: usize,
    gateways: usize,
    dialled: usize,
    watched: usize,
    watchers: usize,
    sent: f64,
    received: f64,
    cpu: f64,
}

/// Measures the first gateway for some seconds; where `changing`, all have other quantities every 50 ms.
fn measured(regions: usize, gateways: usize, changing: bool, seconds: u64) -> Row {
    let mut world = World::new(regions, gateways, 50);
    world.run_secs(12.0);
    let before = bytes(&world);
    world.gateways[0].busy = Duration::ZERO;
    for _ in 0..seconds * 20 {
        for at in 0..if changing { world.gateways.len() } else { 0 } {
            world.gateways[at].own = serving(world.rng.f64() / 100.0);
            world.gateways[at].own.saturation_pct = world.rng.u8(0..=100);
        }
        world.run(Duration::from_millis(50));
    }
    let after = bytes(&world);
    let open = world.connections.iter().filter(|it| it.sides[0].open);
    let own = open.filter(|it| it.sides[0].gateway == 0);
    let watches = own.clone().filter(|it| it.purpose == Purpose::Control);
    let first = &world.gateways[0];
    Row {
        regions,
        gateways,
        dialled: own.count(),
        watched: watches.count(),
        watchers: first.fleet.watchers(),
        sent: (after.0 - before.0) as f64 / seconds as f64,
        received: (after.1 - before.1) as f64 / seconds as f64,
        cpu: first.busy.as_secs_f64() / seconds as f64,
    }
}

/// Returns the bytes of `Watch` that the first gateway has sent and received.
fn bytes(world: &World) -> (u64, u64) {
    let of = |side: usize| -> u64 {
        let connections = world.connections.iter();
        let own = connections.filter(|it| it.sides[side].gateway == 0);
        own.map(|it| it.bytes).sum()
    };
    (of(1), of(0))
}

#[test]
#[ignore = "a measurement, for `make simulate-fleet`"]
fn table_of_what_is_promised() {
    let left: Vec<_> = (0..50).map(failing::left_after).collect();
    let left = left.into_iter().max().unwrap();
    let slowest = spreading::slowest_beside_the_way();
    println!("| measure | bar | simulated |");
    println!("|---|---|---|");
    println!(
        "| a change is known everywhere, beside one way | 50 ms | {:.1} ms |",
        slowest.as_secs_f64() * 1e3
    );
    println!(
        "| an Update with one record | 64 B | {} B |",
        spreading::longest_update()
    );
    println!(
        "| a peer, nothing changes (4 gateways a region) | 100 B/s | {:.0} B/s |",
        spreading::bytes_when_nothing_changes()
    );
    for gateways in [1, 4, 16] {
        println!(
            "| a peer, everything changes ({gateways} gateways a region) | 1 KiB/s | {:.0} B/s |",
            spreading::bytes_when_everything_changes(gateways)
        );
    }
    println!(
        "| a region that swallows everything is left, worst of 50 seeds | 1.5 s | {:.2} s |",
        left.as_secs_f64()
    );
}

#[test]
#[ignore = "a measurement, for `make simulate-fleet`"]
fn table_of_what_a_fleet_costs_each_gateway() {
    println!(
        "| regions × gateways | changing | connections dialled | watched | watchers | sent | received | CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (regions, gateways) in [(3, 2), (10, 2), (10, 4), (30, 2), (50, 4)] {
        for changing in [false, true] {
            let row = measured(regions, gateways, changing, 10);
            println!(
                "| {} × {} | {} | {} | {} | {} | {:.1} kB/s | {:.1} kB/s | {:.2} % |",
                row.regions,
                row.gateways,
                if changing { "all" } else { "nothing" },
                row.dialled,
                row.watched,
                row.watchers,
                row.sent / 1_000.0,
                row.received / 1_000.0,
                row.cpu * 100.0,
            );
        }
    }
}

#[test]
fn streams_grow_with_the_sum_of_regions_and_gateways_not_with_their_product() {
    let row = measured(8, 4, false, 1);
    assert_eq!(row.dialled, 7 * 4 + 3);
    assert_eq!(row.watched, 7 * 2 + 3);
    // Each gateway of another region watches two of four: half of 28, more or less, and three siblings.
    assert!((9..=25).contains(&row.watchers), "{}", row.watchers);
}
