//! Gateways of several regions, the ways between them and virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidegate_fleet::{GatewayId, Record};
use tidegate_model::RegionId;
use tidegate_traffic::compile;
use tidegate_traffic::health::Outcome;
use tidegate_traffic::plan::{Plan, RegionIndex, RegionMask};
use tidegate_traffic::syntax::Source;

use crate::gateway::Gateway;
use crate::network::{Connection, Message, Ways};

const TICK: Duration = Duration::from_millis(50);

pub(crate) enum Event {
    /// Of a gateway, as started for the n-th time.
    Tick(usize, u32),
    Dialled(usize),
    SendAgain(usize, usize),
    Deliver(usize, usize, Message),
}

/// In the order of time, then in that in which they were scheduled.
struct Scheduled {
    at: Duration,
    number: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

/// A record that is waited for: the first one of a gateway for which something is true.
pub(crate) struct Awaited {
    pub(crate) gateway: GatewayId,
    pub(crate) is_it: fn(&Record) -> bool,
    pub(crate) arrived: HashMap<usize, Duration>,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) regions: Vec<RegionId>,
    pub(crate) ways: Ways,
    pub(crate) connections: Vec<Connection>,
    pub(crate) rng: fastrand::Rng,
    plan: Arc<Plan>,
    starts: Vec<u32>,
    pub(crate) by_address: HashMap<SocketAddr, usize>,
    events: BinaryHeap<Reverse<Scheduled>>,
    number: u64,
    pub(crate) awaited: Option<Awaited>,
}

impl World {
    /// Begins with gateways that know each other's addresses and nothing else.
    pub(crate) fn new(regions: usize, gateways: usize, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let names = (0..regions).map(|at| format!("r-{at:02}").parse().unwrap());
        let mut world = Self {
            now: Duration::ZERO,
            gateways: Vec::new(),
            regions: names.collect(),
            ways: Ways::new(regions, &mut rng),
            connections: Vec::new(),
            rng,
            plan: plan(regions),
            starts: Vec::new(),
            by_address: HashMap::new(),
            events: BinaryHeap::new(),
            number: 0,
            awaited: None,
        };
        for number in 0..regions * gateways {
            let ip = Ipv4Addr::from(0x0a00_0000 + number as u32);
            let address = SocketAddr::from((ip, 8443));
            let region = number / gateways;
            let id = (region, &world.regions[region]);
            let gateway = Gateway::new(id, address, &world.plan, &mut world.rng);
            world.gateways.push(gateway);
            world.starts.push(0);
            world.by_address.insert(address, number);
        }
        for number in 0..world.gateways.len() {
            world.begin(number);
        }
        world
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.events.peek().is_some_and(|next| next.0.at <= end) {
            if let Some(Reverse(next)) = self.events.pop() {
                self.now = next.at;
                self.happen(next.event);
            }
        }
        self.now = end;
    }

    pub(crate) fn run_secs(&mut self, seconds: f64) {
        self.run(Duration::from_secs_f64(seconds));
    }

    /// Returns the gateways of a region.
    pub(crate) fn of(&self, region: usize) -> impl Iterator<Item = usize> + use<> {
        let of = self.gateways.iter().enumerate();
        let of = of.filter(|(_, gateway)| gateway.region == region);
        of.map(|(at, _)| at).collect::<Vec<_>>().into_iter()
    }

    /// Returns the gateways of all other regions.
    pub(crate) fn others(&self, region: usize) -> impl Iterator<Item = usize> + use<> {
        let all = 0..self.gateways.len();
        let own: Vec<_> = self.of(region).collect();
        all.filter(move |at| !own.contains(at))
    }

    /// Returns whether a gateway sends a region no requests.
    pub(crate) fn is_away(&self, gateway: usize, region: usize) -> bool {
        self.gateways[gateway].away.has(RegionIndex(region as u8))
    }

    /// Swallows all packets from gateways to others, or no longer.
    pub(crate) fn cut(&mut self, from: &[usize], to: &[usize], cut: bool) {
        for from in from {
            for to in to {
                if cut {
                    self.ways.cut.insert((*from, *to));
                } else {
                    self.ways.cut.remove(&(*from, *to));
                }
            }
        }
    }

    /// Swallows all packets between a region and the others, or no longer.
    pub(crate) fn cut_off(&mut self, region: usize, cut: bool) {
        let own: Vec<_> = self.of(region).collect();
        let others: Vec<_> = self.others(region).collect();
        self.cut(&own, &others, cut);
        self.cut(&others, &own, cut);
    }

    /// Ends a gateway's process; its host answers with resets.
    pub(crate) fn kill(&mut self, gateway: usize) {
        self.gateways[gateway].up = false;
        for at in 0..self.connections.len() {
            for side in 0..2 {
                let end = self.connections[at].sides[side];
                if end.gateway == gateway && end.open {
                    self.end(at, side);
                }
            }
        }
    }

    /// Starts a gateway that was killed: a new process, with a new id.
    pub(crate) fn start(&mut self, gateway: usize) {
        let (region, address) = (
            self.gateways[gateway].region,
            self.gateways[gateway].address,
        );
        let id = (region, &self.regions[region]);
        self.gateways[gateway] = Gateway::new(id, address, &self.plan, &mut self.rng);
        self.starts[gateway] += 1;
        self.begin(gateway);
    }

    /// Lets a gateway stand still for some time, in which nothing of it happens.
    pub(crate) fn stand_still(&mut self, gateway: usize, time: Duration) {
        self.gateways[gateway].still = self.now + time;
    }

    /// Waits for the first record of a gateway for which something is true, and returns when it has
    /// arrived where.
    pub(crate) fn arrivals(
        &mut self,
        of: usize,
        is_it: fn(&Record) -> bool,
        within: Duration,
    ) -> HashMap<usize, Duration> {
        self.awaited = Some(Awaited {
            gateway: self.gateways[of].fleet.id(),
            is_it,
            arrived: HashMap::new(),
        });
        let begun = self.now;
        self.run(within);
        let arrived = self.awaited.take().unwrap().arrived.into_iter();
        arrived.map(|(at, when)| (at, when - begun)).collect()
    }

    /// Returns the longest way between two regions, one way.
    pub(crate) fn way(&self, from: usize, to: usize) -> Duration {
        self.ways.delay[self.gateways[from].region][self.gateways[to].region]
    }

    /// Lets a gateway hand requests to a region, of which all end in one way.
    pub(crate) fn hand(&mut self, gateway: usize, region: usize, outcome: Outcome, count: usize) {
        let now = self.now;
        let region = self.regions[region].clone();
        let gateway = &mut self.gateways[gateway];
        let tunnel = gateway.fleet.region(&region).unwrap().tunnels().next();
        for _ in 0..count {
            let time = Duration::from_millis(300);
            let now = gateway.time(now);
            gateway.fleet.handed(tunnel.unwrap(), outcome, time, now);
        }
    }

    fn begin(&mut self, number: usize) {
        let mut out = Vec::new();
        for region in 0..self.regions.len() {
            let addresses: Vec<_> = self
                .of(region)
                .map(|at| self.gateways[at].address)
                .collect();
            let id = self.regions[region].clone();
            let fleet = &mut self.gateways[number].fleet;
            assert!(fleet.set_addresses(&id, &addresses, &mut out));
        }
        assert!(out.is_empty());
        let phase = TICK.mul_f64(self.rng.f64());
        self.schedule(self.now + phase, Event::Tick(number, self.starts[number]));
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        self.number += 1;
        let number = self.number;
        self.events.push(Reverse(Scheduled { at, number, event }));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(gateway, start) => {
                let state = &self.gateways[gateway];
                if self.starts[gateway] != start || !state.up {
                    return;
                }
                if state.still > self.now {
                    return self.schedule(state.still, Event::Tick(gateway, start));
                }
                self.tick(gateway);
                self.schedule(self.now + TICK, Event::Tick(gateway, start));
            }
            Event::Dialled(connection) => self.dialled(connection),
            Event::SendAgain(connection, side) => {
                self.connections[connection].pipes[side].waits = false;
                self.transmit(connection, side);
            }
            Event::Deliver(connection, side, message) => {
                let to = self.connections[connection].sides[1 - side].gateway;
                let still = self.gateways[to].still;
                if still > self.now {
                    return self.schedule(still, Event::Deliver(connection, side, message));
                }
                self.deliver(connection, side, message);
            }
        }
    }
}

/// Every region is preferred in some order, by the default clauses.
fn plan(regions: usize) -> Arc<Plan> {
    let mut text = String::new();
    for region in 0..regions {
        let _ = writeln!(text, "region r-{region:02}");
    }
    let names: Vec<_> = (0..regions)
        .map(|region| format!("r-{region:02}"))
        .collect();
    let _ = write!(
        text,
        "defaults {{
  leave   when errors > 2% or p99 > 400ms or lag > 5s  for 2s
  return  when errors < 0.5% and p99 < 250ms  for 60s  ramp 5m
}}
policy everything {{ prefer spread({}) }}",
        names.join(", ")
    );
    let compiled = compile(&Source::new("fleet.policy", text.as_bytes()));
    Arc::new(compiled.plan.expect("the policy is sound"))
}

/// Returns a set of one region.
pub(crate) fn only(region: usize) -> RegionMask {
    RegionMask::of(RegionIndex(region as u8))
}
