//! A fleet of gateways in virtual time, each with its own selector, under random faults.
//!
//! Time passes in steps: a second while something is wrong or was recently, longer in between. At
//! each step a gateway samples every node, as its monitor does, and sends one request.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::{AttemptOutcome, Ranking, Selector, SteeringSettings};

const GATEWAYS: usize = 30;
const NODES: usize = 5;
const HOURS: u64 = 100;

const STEP: u64 = 1;
const CALM_STEP: u64 = 20;
/// The time after the last fault by which every node is back in its place: the longest pause,
/// probation, the fading of old latencies, the dwell, and the life of a ranking.
const SETTLED_AFTER: u64 = 240;
/// A node that has been good for this long has been found to be good: the longest pause and a step.
const FOUND_AFTER: u64 = 32;
/// Missed samples in a row after which a monitor gives up on a node.
const FAIL_AFTER: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Fault {
    node: usize,
    /// All gateways, or one whose path to the node is broken.
    seen_by: Option<usize>,
    kind: Kind,
    from: u64,
    to: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Down,
    Slow,
    /// Good and bad for five seconds each.
    Flapping,
}

/// A gateway's view of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Good,
    Slow,
    Bad,
}

impl Fault {
    fn random(node: usize, from: u64, rng: &mut Rng) -> Self {
        let lasts = match rng.u8(..4) {
            0 => rng.u64(1..10),
            1..=2 => rng.u64(10..180),
            _ => rng.u64(180..900),
        };
        Self {
            node,
            seen_by: rng.bool().then(|| rng.usize(..GATEWAYS)),
            kind: [Kind::Down, Kind::Slow, Kind::Flapping][rng.usize(..3)],
            from,
            to: from + lasts,
        }
    }

    fn concerns(&self, gateway: usize) -> bool {
        self.seen_by.is_none_or(|one| one == gateway)
    }

    fn sight(&self, at: u64) -> Sight {
        match self.kind {
            _ if !(self.from..self.to).contains(&at) => Sight::Good,
            Kind::Down => Sight::Bad,
            Kind::Slow => Sight::Slow,
            Kind::Flapping if ((at - self.from) / 5).is_multiple_of(2) => Sight::Bad,
            Kind::Flapping => Sight::Good,
        }
    }
}

/// The faults of each node, with hours between them, in the order in which they begin.
fn faults(rng: &mut Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in 0..NODES {
        let mut at = 0;
        loop {
            at += rng.u64(60..20 * 3_600);
            if at > HOURS * 3_600 {
                break;
            }
            let fault = Fault::random(node, at, rng);
            at = fault.to;
            faults.push(fault);
        }
    }
    // Occasionally everything fails together.
    let together = rng.u64(..HOURS * 3_600);
    for node in 0..NODES {
        faults.push(Fault {
            node,
            seen_by: None,
            kind: Kind::Down,
            from: together,
            to: together + 120,
        });
    }
    faults.sort_by_key(|fault| fault.from);
    faults
}

struct Gateway {
    number: usize,
    selector: Selector,
    ranking: Ranking,
    start: Instant,
    rng: Rng,
    faults: Vec<Fault>,
    missed: [u32; NODES],
    good_since: [u64; NODES],
    first: usize,
    switches: usize,
    /// When each node was probed.
    probes: Vec<(u64, usize)>,
}

impl Gateway {
    fn new(number: usize, faults: &[Fault], start: Instant, rng: Rng) -> Self {
        let settings = SteeringSettings::default();
        let estimates: Vec<_> = (0..NODES).map(latency).collect();
        let mut selector = Selector::new(settings, number as u64, &estimates, start);
        Self {
            number,
            ranking: selector.ranking(start),
            selector,
            start,
            rng,
            faults: faults
                .iter()
                .copied()
                .filter(|it| it.concerns(number))
                .collect(),
            missed: [0; NODES],
            good_since: [0; NODES],
            first: 0,
            switches: 0,
            probes: Vec::new(),
        }
    }

    /// Switches away and back, for each fault of the nearest node and for each fault of its
    /// stand-in.
    fn switches_max(&self) -> usize {
        let of_nearest = |fault: &&Fault| fault.node == 0;
        let meets = |fault: &Fault| {
            let stand_in = |it: &Fault| fault.from < it.to + SETTLED_AFTER && it.from < fault.to;
            self.faults.iter().filter(of_nearest).any(stand_in)
        };
        2 * self.faults.iter().filter(|fault| meets(fault)).count()
    }

    fn live(mut self) -> Self {
        let mut at = 0;
        let mut coming = 0;
        while at < HOURS * 3_600 {
            while self
                .faults
                .get(coming)
                .is_some_and(|fault| fault.from <= at)
            {
                coming += 1;
            }
            let calm_since = self.faults[..coming]
                .iter()
                .map(|fault| fault.to)
                .max()
                .unwrap_or(0);
            let calm = at > calm_since + SETTLED_AFTER;
            self.step(at, calm);
            let step = if calm { CALM_STEP } else { STEP };
            let next = self.faults.get(coming).map_or(u64::MAX, |fault| fault.from);
            at = (at + step).min(next.max(at + STEP));
        }
        self
    }

    fn step(&mut self, at: u64, calm: bool) {
        let now = self.start + Duration::from_secs(at);
        let sights = std::array::from_fn(|node| self.sight(node, at));
        for (node, &sight) in sights.iter().enumerate() {
            self.look(node, sight, at, now);
        }
        self.refresh(now, false);
        self.request(&sights, at, now);
        if calm {
            let context = || format!("gateway {} at {at} s: {:?}", self.number, self.ranking);
            assert_eq!(self.first, 0, "not back at the nearest: {}", context());
        }
    }

    fn sight(&self, node: usize, at: u64) -> Sight {
        let mut sights = self
            .faults
            .iter()
            .filter(|it| it.node == node)
            .map(|it| it.sight(at));
        sights
            .find(|&sight| sight != Sight::Good)
            .unwrap_or(Sight::Good)
    }

    /// The work of the monitor; its samples are the probes.
    fn look(&mut self, node: usize, sight: Sight, at: u64, now: Instant) {
        if self.ranking.probes_due().next() == Some(node) && self.selector.claim_probe(node, now) {
            self.probes.push((at, node));
            self.refresh(now, true);
        }
        let moved = match sight {
            Sight::Bad => {
                self.missed[node] += 1;
                self.good_since[node] = u64::MAX;
                let lost = self.missed[node] >= FAIL_AFTER && self.selector.lose(node, now);
                self.selector
                    .report(node, AttemptOutcome::Failed, None, now)
                    || lost
            }
            Sight::Good | Sight::Slow => {
                self.missed[node] = 0;
                self.good_since[node] = self.good_since[node].min(at);
                let mut latency = latency(node).mul_f64(0.95 + 0.1 * self.rng.f64());
                if sight == Sight::Slow {
                    latency *= 20;
                }
                self.selector
                    .report(node, AttemptOutcome::Answered, Some(latency), now)
            }
        };
        self.refresh(now, moved);
    }

    fn refresh(&mut self, now: Instant, moved: bool) {
        if moved || now >= self.ranking.valid_until() {
            self.ranking = self.selector.ranking(now);
        }
    }

    /// Sends one request to one node after the other.
    fn request(&mut self, sights: &[Sight; NODES], at: u64, now: Instant) {
        let choice = self.ranking.choose(|_| true);
        let first = *choice.first().expect("there is always a choice");
        if first != self.first {
            self.first = first;
            self.switches += 1;
        }
        for &node in &choice {
            if sights[node] != Sight::Bad {
                return;
            }
            let moved = self
                .selector
                .report(node, AttemptOutcome::Failed, None, now);
            self.refresh(now, moved);
        }
        let found = |&since: &u64| since.saturating_add(FOUND_AFTER) < at;
        assert!(
            !self.good_since.iter().any(found),
            "gateway {} at {at} s: a request failed although a node was good: {:?}",
            self.number,
            self.ranking
        );
    }
}

/// Nodes are 1, 41, 81, … ms away.
fn latency(node: usize) -> Duration {
    Duration::from_millis(1 + 40 * node as u64)
}

/// The largest number of gateways that probed one node within one second, more than a minute into
/// an outage that affects all of them.
fn busiest_second(gateways: &[Gateway], faults: &[Fault]) -> usize {
    let long = |fault: &&Fault| fault.seen_by.is_none() && matches!(fault.kind, Kind::Down);
    let mut busiest = 0;
    for fault in faults.iter().filter(long) {
        for second in fault.from + 60..fault.to {
            let probes = gateways.iter().flat_map(|gateway| &gateway.probes);
            busiest = busiest.max(probes.filter(|it| **it == (second, fault.node)).count());
        }
    }
    busiest
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let faults = faults(&mut rng);
    let start = Instant::now();
    let gateways: Vec<_> = (0..GATEWAYS)
        .map(|number| Gateway::new(number, &faults, start, rng.fork()).live())
        .collect();
    for gateway in &gateways {
        let most = gateway.switches_max();
        let (number, switches) = (gateway.number, gateway.switches);
        assert!(
            switches <= most,
            "gateway {number}: {switches} switches, {most} allowed"
        );
    }
    let switches: usize = gateways.iter().map(|gateway| gateway.switches).sum();
    assert!(
        switches > GATEWAYS,
        "the faults were hardly felt: {switches} switches"
    );
    let busiest = busiest_second(&gateways, &faults);
    assert!(
        busiest <= GATEWAYS / 2,
        "{busiest} gateways probed within one second"
    );
}

#[test]
fn a_fleet_keeps_its_promises_for_thousands_of_hours() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    run(seed);
}
