//! One gateway: the pure core, and what a driver keeps beside it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::time::ClockId;
use tidegate_fleet::{ConnectionId, Fleet, GatewayId, Identity, Judge, Output, Own, WatcherId};
use tidegate_model::RegionId;
use tidegate_traffic::health::{State, Summary};
use tidegate_traffic::plan::{OpenWindows, Plan, RegionIndex, RegionMask};

pub(crate) const NO_WINDOW: OpenWindows = OpenWindows(0);

pub(crate) struct Gateway {
    pub(crate) region: usize,
    pub(crate) address: SocketAddr,
    /// What its clock shows at the world's beginning.
    pub(crate) clock: Duration,
    pub(crate) up: bool,
    /// Until when it stands still.
    pub(crate) still: Duration,
    pub(crate) fleet: Fleet,
    pub(crate) judge: Judge,
    pub(crate) own: Own,
    pub(crate) dialled: HashMap<ConnectionId, usize>,
    pub(crate) accepted: HashMap<WatcherId, usize>,
    /// How often regions have come to get requests or ceased to.
    pub(crate) transitions: usize,
    pub(crate) away: RegionMask,
    /// When regions last left or came back.
    pub(crate) changed: Duration,
    pub(crate) probes: u64,
    /// CPU time that its calls have taken.
    pub(crate) busy: Duration,
}

/// Returns what a gateway is that serves 100 requests a second, of which some fail.
pub(crate) fn serving(errors: f64) -> Own {
    let failed = (200.0 * errors) as u64;
    Own {
        served: Summary {
            window: Duration::from_secs(2),
            requests: 200,
            failed,
            no_primary: 0,
            points: [4, 12, 20, 40, 60, 80].map(Duration::from_millis),
        },
        saturation_pct: 20,
        lag: Some(Duration::from_millis(30)),
        has_database: true,
        reaches_primary: true,
        leaving: false,
        revision: 1,
    }
}

fn cpu_time() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock.now().map(Duration::from).unwrap()
}

impl Gateway {
    pub(crate) fn new(
        (region, id): (usize, &RegionId),
        address: SocketAddr,
        plan: &Arc<Plan>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let identity = Identity {
            region: id.clone(),
            random: rng.u64(..),
        };
        let fleet = Fleet::new(identity);
        Self {
            region,
            address,
            clock: Duration::from_millis(rng.u64(0..10_000_000)),
            up: true,
            still: Duration::ZERO,
            judge: Judge::new(plan.clone(), &fleet),
            fleet,
            own: serving(0.0),
            dialled: HashMap::new(),
            accepted: HashMap::new(),
            transitions: 0,
            away: RegionMask::EMPTY,
            changed: Duration::ZERO,
            probes: 0,
            busy: Duration::ZERO,
        }
    }

    /// Returns what its clock shows.
    pub(crate) fn time(&self, now: Duration) -> Duration {
        self.clock + now
    }

    /// Calls its core, and counts what that takes.
    pub(crate) fn call<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> T {
        let begun = cpu_time();
        let result = call(self);
        self.busy += cpu_time() - begun;
        result
    }

    pub(crate) fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let time = self.time(now);
        self.call(|it| it.fleet.tick(&it.own, it.judge.opinion(), time, out));
        self.step(now);
    }

    pub(crate) fn step(&mut self, now: Duration) {
        self.call(|it| it.judge.step(&it.fleet, NO_WINDOW));
        let away = self.away();
        if away != self.away {
            self.transitions += 1;
            self.changed = now;
            self.away = away;
        }
    }

    /// Returns the regions that get no requests from it.
    fn away(&self) -> RegionMask {
        let regions = 0..self.fleet.regions().len() as u8;
        let left = |region: &RegionIndex| self.judge.state(*region, 0) == State::Left;
        let left: RegionMask = regions.map(RegionIndex).filter(left).collect();
        left.or(self.judge.unreachable()).or(self.judge.draining())
    }

    /// Returns the record of a gateway, as this one knows it.
    pub(crate) fn knows(&self, id: GatewayId) -> Option<tidegate_fleet::Record> {
        let regions = self.fleet.regions().iter();
        let mut gateways = regions.flat_map(tidegate_fleet::FleetRegion::gateways);
        let found = gateways.find(|(known, _)| *known == id);
        found.map(|(_, gateway)| gateway.record)
    }
}
