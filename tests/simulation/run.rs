//! One system through one event, tick by tick.

use http::HeaderMap;
use tidegate_traffic::decide::Target;

use crate::dns::Dns;
use crate::event::{Event, FAULT, Kind, QUIET, RECOVERY};
use crate::measure::Tally;
use crate::policy::{Gateways, TUNNEL_CLOSED_SECONDS, request};
use crate::region::{Region, Served};
use crate::world::{RATE, World};

/// Seconds of a tick: how often records are heard.
const TICK: f64 = 0.25;

/// Retries for each request that a region was handed, and how many are kept.
const RETRY_BUDGET: f64 = 0.2;
const BUDGET_KEPT: f64 = 10.0;

/// What is compared.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum System {
    /// DNS brings clients to a region; what fails there, fails.
    Dns,
    /// Gateways also choose among their region's nodes.
    Steering,
    /// And hand requests to another region by the policy.
    Policy,
    /// The same, if shedding were a reason to leave a region.
    Strict,
}

impl System {
    /// What is compared in an event.
    pub(crate) fn compared(event: &Event) -> &'static [Self] {
        let all = &[Self::Dns, Self::Steering, Self::Policy, Self::Strict];
        if event.regions().len() > event.sized_for {
            all
        } else {
            &all[..3]
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "DNS alone",
            Self::Steering => "node steering",
            Self::Policy => "traffic policy",
            Self::Strict => "the same, shedding counted",
        }
    }
}

/// The result of one system in one event.
#[derive(Default)]
pub(crate) struct Tallies {
    /// All clients, before the event.
    pub(crate) before: Tally,
    /// All clients, from the fault to when every region is back.
    pub(crate) all: Tally,
    /// Of those, the clients that are nearest to a faulty region.
    pub(crate) affected: Tally,
}

/// Random outcomes: the same for the same request in each system, however it is decided.
pub(crate) struct Luck(fastrand::Rng);

impl Luck {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn share(&mut self) -> f64 {
        self.0.f64()
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.usize(0..count)
    }

    /// Draws from the normal distribution (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.0.f64(), self.0.f64());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

struct Run<'a> {
    world: &'a World,
    system: System,
    regions: Vec<Region>,
    faults: Vec<Option<Kind>>,
    /// Since when a region is gone.
    gone_since: Vec<Option<f64>>,
    gateways: Option<Gateways>,
    /// By region: retries that are left.
    budget: Vec<f64>,
}

pub(crate) fn run(world: &World, event: &Event, system: System, seed: u64) -> Tallies {
    let mut trace = Luck::new(seed);
    let mut dns = Dns::new(world, &mut trace);
    let mut probes = Luck::new(seed ^ 1);
    let mut run = Run::new(world, event, system);
    let mut tallies = Tallies::default();
    let faulty = event.regions();
    let ticks = ((QUIET + FAULT + RECOVERY) / TICK) as u64;
    for tick in 0..ticks {
        let now = tick as f64 * TICK;
        run.tick(event, now, &mut probes);
        dns.tick(|region| event.at(region, now), now);
        for arrival in 0..(RATE * TICK) as u64 {
            let at = now + (arrival as f64 + trace.share()) / RATE;
            let client = trace.below(world.clients.len());
            let mut luck = Luck::new(trace.0.u64(..));
            let entry = dns.resolve(world, world.clients[client].resolver, at);
            let served = run.one(client, entry, at, &mut luck);
            let home = world.clients[client].home;
            let (answered, at_home) = match served {
                Some((millis, region)) => (Some(millis), region == home),
                None => (None, false),
            };
            if now < QUIET {
                tallies.before.add(answered, at_home);
                continue;
            }
            tallies.all.add(answered, at_home);
            if faulty.contains(&home) {
                tallies.affected.add(answered, at_home);
            }
        }
    }
    tallies
}

impl<'a> Run<'a> {
    fn new(world: &'a World, event: &Event, system: System) -> Self {
        let capacity = world.capacity(event.sized_for);
        let count = capacity.len();
        let decides = matches!(system, System::Policy | System::Strict);
        let gateways = || Gateways::new(&capacity, system == System::Strict);
        Self {
            world,
            system,
            regions: capacity
                .iter()
                .map(|capacity| Region::new(*capacity))
                .collect(),
            faults: vec![None; count],
            gone_since: vec![None; count],
            budget: vec![BUDGET_KEPT; count],
            gateways: decides.then(gateways),
        }
    }

    fn tick(&mut self, event: &Event, now: f64, luck: &mut Luck) {
        for (at, region) in self.regions.iter_mut().enumerate() {
            let fault = event.at(at, now);
            self.faults[at] = fault;
            region.tick(fault, now, TICK);
            let since = &mut self.gone_since[at];
            *since = (fault == Some(Kind::Gone)).then(|| since.unwrap_or(now));
        }
        if let Some(gateways) = &mut self.gateways {
            gateways.tick(
                self.world,
                &mut self.regions,
                &self.faults,
                (now, TICK),
                luck,
            );
        }
    }

    /// Returns the milliseconds to the answer and the region it came from, if it was a good one.
    fn one(
        &mut self,
        client: usize,
        entry: usize,
        now: f64,
        luck: &mut Luck,
    ) -> Option<(f64, usize)> {
        if self.faults[entry] == Some(Kind::Gone) {
            return None;
        }
        let to_entry = self.world.clients[client].round_trips[entry];
        if self.gateways.is_some() {
            return self.decided(client, entry, now, luck);
        }
        match self.serve(entry, now, luck) {
            Served::Well(time) => Some((to_entry + time, entry)),
            Served::Failed(_) | Served::NoNode | Served::Shed => None,
        }
    }

    fn decided(
        &mut self,
        client: usize,
        entry: usize,
        now: f64,
        luck: &mut Luck,
    ) -> Option<(f64, usize)> {
        let number = client;
        let client = &self.world.clients[number];
        let headers = HeaderMap::new();
        let request = request(number, client, &headers);
        let gateways = self.gateways.as_ref()?;
        let decision = gateways.decide(entry, &request);
        let standby = gateways.standby(entry, &request, &decision);
        let Target::Region(first) = decision.region else {
            return None;
        };
        let mut time = client.round_trips[entry];
        for region in [Some(first), standby]
            .into_iter()
            .flatten()
            .map(|it| it.get())
        {
            let (waited, served) = self.attempt(entry, region, now, luck);
            time += waited;
            match served {
                Some(Served::Well(_)) => return Some((time, region)),
                Some(Served::Failed(_)) => return None,
                // Nothing was done there, or its tunnel was lost: the next one may have it.
                Some(Served::NoNode) | None => {}
                Some(Served::Shed) if self.may_retry(region) => {}
                Some(Served::Shed) => return None,
            }
        }
        None
    }

    /// Returns how long it took at the entry, and the outcome; `None` if the tunnel was lost.
    fn attempt(
        &mut self,
        entry: usize,
        region: usize,
        now: f64,
        luck: &mut Luck,
    ) -> (f64, Option<Served>) {
        if region != entry
            && let Some(since) = self.gone_since[region]
        {
            let left = (TUNNEL_CLOSED_SECONDS - (now - since)).max(0.0);
            return (left * 1_000.0, None);
        }
        let served = self.serve(region, now, luck);
        let time = match served {
            Served::Well(time) | Served::Failed(time) => time,
            Served::NoNode | Served::Shed => 1.0,
        };
        (self.world.round_trips[entry][region] + time, Some(served))
    }

    /// Takes one of the retries that a region's shed requests have: a fifth of what it was handed.
    fn may_retry(&mut self, region: usize) -> bool {
        let enough = self.budget[region] >= 1.0;
        self.budget[region] -= f64::from(u8::from(enough));
        enough
    }

    fn serve(&mut self, region: usize, now: f64, luck: &mut Luck) -> Served {
        let steers = self.system != System::Dns;
        self.budget[region] = (self.budget[region] + RETRY_BUDGET).min(BUDGET_KEPT);
        let served = self.regions[region].serve(steers, self.faults[region], now, luck);
        if let Some(gateways) = &mut self.gateways {
            gateways.saw(region, served, now);
        }
        served
    }
}
