//! The faults, their places and times.

use crate::world::World;

/// Nodes of a region's application.
pub(crate) const NODES: usize = 3;

/// Seconds before an event, during it, and after it until every region is back.
pub(crate) const QUIET: f64 = 120.0;
pub(crate) const FAULT: f64 = 600.0;
pub(crate) const RECOVERY: f64 = 480.0;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// These nodes take no connection.
    Down(usize),
    /// This share of requests is answered with 5xx.
    Errors(f64),
    /// Answers take this many times as long.
    Slow(f64),
    /// The region is cut off from the others; clients reach it.
    CutOff,
    /// The whole region is gone, including its gateways.
    Gone,
}

/// A fault of one region, all the time or for the first half of every ten seconds.
pub(crate) struct Fault {
    pub(crate) region: usize,
    pub(crate) kind: Kind,
    pub(crate) wave: bool,
}

/// Faults at the same time.
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) faults: Vec<Fault>,
    /// How many lost regions the others are sized for.
    pub(crate) sized_for: usize,
}

impl Event {
    pub(crate) fn all(world: &World) -> Vec<Self> {
        let [first, second, third] = [0, 3, 6].map(|nth| world.busiest(nth));
        let neighbour = world.near[second][1];
        let one = |name, region, kind| Self {
            name,
            faults: vec![fault(region, kind)],
            sized_for: 1,
        };
        let two = |name, sized_for| Self {
            name,
            faults: [second, neighbour]
                .map(|region| fault(region, Kind::Down(NODES)))
                .into(),
            sized_for,
        };
        vec![
            one("one of three nodes down", first, Kind::Down(1)),
            one("all nodes of a region down", first, Kind::Down(NODES)),
            one("all answers 5xx", second, Kind::Errors(1.0)),
            one("a fifth of the answers 5xx", third, Kind::Errors(0.2)),
            one(
                "answers take twenty times as long",
                second,
                Kind::Slow(20.0),
            ),
            Self {
                name: "5xx for five seconds of every ten",
                faults: vec![Fault {
                    wave: true,
                    ..fault(third, Kind::Errors(1.0))
                }],
                sized_for: 1,
            },
            two("two neighbours' nodes down", 2),
            two("two neighbours' nodes down, sized for one", 1),
            one("a region cut off from the others", first, Kind::CutOff),
            one("a region gone, gateways too", third, Kind::Gone),
        ]
    }

    /// Returns the regions with a fault.
    pub(crate) fn regions(&self) -> Vec<usize> {
        self.faults.iter().map(|fault| fault.region).collect()
    }

    /// Returns the fault of a region at a time.
    pub(crate) fn at(&self, region: usize, seconds: f64) -> Option<Kind> {
        let since = seconds - QUIET;
        let fault = self.faults.iter().find(|fault| fault.region == region)?;
        let active = (0.0..FAULT).contains(&since) && (!fault.wave || since % 10.0 < 5.0);
        active.then_some(fault.kind)
    }
}

fn fault(region: usize, kind: Kind) -> Fault {
    Fault {
        region,
        kind,
        wave: false,
    }
}
