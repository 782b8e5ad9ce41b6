//! Thirty regions, clients around the world and seeded faults: DNS alone, node steering and the traffic
//! policy, on the same requests.
//!
//! `make simulate` prints the table and writes it to `docs/traffic-simulation.md`. Time is virtual; the
//! decisions are the gateway's own, by the plan of a policy that is compiled from text.

mod dns;
mod event;
mod measure;
mod policy;
mod region;
mod report;
mod run;
mod world;

use std::process::ExitCode;

use event::Event;
use report::Row;
use run::System;
use world::World;

/// The seed of the clients, the requests and their random outcomes.
const SEED: u64 = 17;

fn main() -> ExitCode {
    let world = World::new(SEED);
    let rows: Vec<Row> = Event::all(&world)
        .into_iter()
        .map(|event| {
            let systems = System::compared(&event).iter();
            let tallies = systems.map(|system| (*system, run::run(&world, &event, *system, SEED)));
            let tallies = tallies.collect();
            Row { event, tallies }
        })
        .collect();
    report::publish(&world, &rows)
}
