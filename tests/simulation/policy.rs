//! The gateways of all regions, each with its own view of the others and the real decision.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, Method};
use tidegate_traffic::compile;
use tidegate_traffic::decide::{RegionDecision, Request, decide};
use tidegate_traffic::facts::{Conditions, Facts};
use tidegate_traffic::health::{Board, Outcome, Quantities, Reading, Samples, State};
use tidegate_traffic::plan::{Plan, RegionIndex};
use tidegate_traffic::syntax::Source;

use crate::event::Kind;
use crate::region::{Region, Served};
use crate::world::{Client, REGIONS, World};

/// A tunnel on which nothing comes back is closed after this.
pub(crate) const TUNNEL_CLOSED_SECONDS: f64 = 1.25;

/// Probes of a region that has left, when all gateways see it so.
const PROBES_A_SECOND: f64 = 25.0;

/// The policy in force on every gateway, and what each of them knows.
pub(crate) struct Gateways {
    pub(crate) plan: Plan,
    views: Vec<View>,
    samples: Vec<Samples>,
    /// By region: what its record said a tick ago.
    records: Vec<Quantities>,
    /// By region: probes that are due.
    probes: Vec<f64>,
    capacity: Vec<f64>,
    shedding_counts: bool,
}

struct View {
    board: Board,
    facts: Facts,
    /// Since when each other region has not answered.
    silent_since: Vec<Option<f64>>,
}

/// Returns the policy: the built-in one with capacities.
fn text(capacity: &[f64]) -> String {
    let mut text = String::new();
    for (name, capacity) in REGIONS.iter().zip(capacity) {
        let _ = writeln!(text, "region {name} capacity {capacity:.0} rps");
    }
    let all = REGIONS.join(", ");
    text + "
defaults {
  leave   when errors > 2% or p99 > 400ms or lag > 5s  for 2s
  return  when errors < 0.5% and p99 < 250ms  for 60s  ramp 5m
  retry   idempotent 1 budget 20%
  panic   below 50%
  else    503
}
policy everything {
  prefer  local | nearest("
        + &all
        + ")
}
"
}

impl Gateways {
    /// Begins with every region well; `shedding_counts` says whether it makes a region leave.
    pub(crate) fn new(capacity: &[f64], shedding_counts: bool) -> Self {
        let text = text(capacity);
        let compiled = compile(&Source::new("simulation.policy", text.as_bytes()));
        let plan = compiled.plan.expect("the policy is sound");
        let views = (0..REGIONS.len()).map(|_| View {
            board: Board::new(&plan, Duration::ZERO),
            facts: Facts::new(&plan, Conditions::default()),
            silent_since: vec![None; REGIONS.len()],
        });
        Self {
            views: views.collect(),
            samples: vec![Samples::default(); REGIONS.len()],
            records: vec![Quantities::NONE; REGIONS.len()],
            probes: vec![0.0; REGIONS.len()],
            capacity: capacity.to_vec(),
            shedding_counts,
            plan,
        }
    }

    /// Records what every gateway has received since the last tick.
    pub(crate) fn tick(
        &mut self,
        world: &World,
        regions: &mut [Region],
        faults: &[Option<Kind>],
        (now, length): (f64, f64),
        luck: &mut crate::run::Luck,
    ) {
        self.probe(regions, faults, (now, length), luck);
        let time = Duration::from_secs_f64(now);
        let fresh: Vec<_> = (0..REGIONS.len())
            .map(|region| Quantities {
                saturation: Some((regions[region].utilisation() * 1e6) as u64),
                ..self.samples[region].quantities(true, time)
            })
            .collect();
        for (own, its_own) in fresh.iter().enumerate() {
            let readings: Vec<_> = (0..REGIONS.len())
                .map(|other| {
                    let quantities = if own == other {
                        *its_own
                    } else {
                        self.records[other]
                    };
                    self.reading(own, other, (quantities, regions), faults, now)
                })
                .collect();
            let silent = readings.iter().filter(|reading| !reading.reachable).count();
            let view = &mut self.views[own];
            view.board
                .step(&self.plan, &readings, silent * 2 > REGIONS.len(), time);
            view.renew(&self.plan, world, own);
        }
        self.records = fresh;
    }

    pub(crate) fn decide<'a>(&'a self, entry: usize, request: &'a Request<'a>) -> RegionDecision {
        decide(&self.plan, &self.views[entry].facts, request)
    }

    /// Returns the first standby.
    pub(crate) fn standby(
        &self,
        entry: usize,
        request: &Request<'_>,
        decision: &RegionDecision,
    ) -> Option<RegionIndex> {
        let (facts, policy) = (&self.views[entry].facts, decision.policy);
        decision
            .standbys
            .in_order(&self.plan, facts, request, policy)
            .next()
    }

    /// Counts a request that was served in a region.
    pub(crate) fn saw(&mut self, region: usize, served: Served, now: f64) {
        let (outcome, millis) = match served {
            Served::Well(millis) => (Outcome::Served, millis),
            Served::Failed(millis) => (Outcome::Failed, millis),
            Served::NoNode => (Outcome::Failed, 1.0),
            Served::Shed if self.shedding_counts => (Outcome::Failed, 1.0),
            Served::Shed => return,
        };
        let time = Duration::from_secs_f64(millis / 1_000.0);
        self.samples[region].add(outcome, time, Duration::from_secs_f64(now));
    }

    /// Probes the regions that have left, as seen by each gateway.
    fn probe(
        &mut self,
        regions: &mut [Region],
        faults: &[Option<Kind>],
        (now, length): (f64, f64),
        luck: &mut crate::run::Luck,
    ) {
        for region in 0..REGIONS.len() {
            let index = RegionIndex(region as u8);
            let left = |view: &&View| view.board.state(index, 0) == State::Left;
            let asking = self.views.iter().filter(left).count();
            let share = asking as f64 / REGIONS.len() as f64;
            self.probes[region] += PROBES_A_SECOND * share * length;
            if faults[region] == Some(Kind::Gone) {
                self.probes[region] = 0.0;
            }
            while self.probes[region] >= 1.0 {
                self.probes[region] -= 1.0;
                let served = regions[region].serve(true, faults[region], now, luck);
                self.saw(region, served, now);
            }
        }
    }

    fn reading(
        &mut self,
        own: usize,
        other: usize,
        (quantities, regions): (Quantities, &[Region]),
        faults: &[Option<Kind>],
        now: f64,
    ) -> Reading {
        let apart = |region: usize| matches!(faults[region], Some(Kind::CutOff | Kind::Gone));
        let silent = own != other && (apart(own) || apart(other));
        let since = &mut self.views[own].silent_since[other];
        *since = silent.then(|| since.unwrap_or(now));
        let reachable = since.is_none_or(|since| now - since < TUNNEL_CLOSED_SECONDS);
        let board = &self.views[own].board;
        let well = |region: &usize| {
            let state = board.state(RegionIndex(*region as u8), 0);
            *region != other && state != State::Left
        };
        let spare = (0..REGIONS.len())
            .filter(well)
            .map(|region| self.capacity[region] - regions[region].rate());
        Reading {
            quantities,
            reachable,
            draining: false,
            room: spare.sum::<f64>() >= regions[other].rate(),
            may_return: !silent,
        }
    }
}

impl View {
    fn renew(&mut self, plan: &Plan, world: &World, own: usize) {
        let conditions = Conditions {
            local: Some(RegionIndex(own as u8)),
            near: world.near[own]
                .iter()
                .map(|region| RegionIndex(*region as u8))
                .collect(),
            unreachable: self.board.unreachable(),
            standings: self.board.standings(plan),
            ..Conditions::default()
        };
        if *self.facts.conditions() != conditions {
            self.facts = Facts::new(plan, conditions);
        }
    }
}

/// Returns a client's request.
pub(crate) fn request<'a>(number: usize, client: &Client, headers: &'a HeaderMap) -> Request<'a> {
    Request {
        method: &Method::GET,
        path: "/api/items",
        query: "",
        host: "app.example.com",
        headers,
        client: std::net::Ipv4Addr::from(number as u32).into(),
        country: None,
        place: Some(client.place),
        hint: "",
        recorded: &[],
    }
}
