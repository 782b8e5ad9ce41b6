//! All regions by all judgements.

use std::time::Duration;

use crate::facts::RegionStanding;
use crate::health::machine::{Evidence, Machine};
use crate::health::reach::Reach;
use crate::health::{Quantities, State};
use crate::plan::{Plan, RegionIndex, RegionMask};

/// What is known about a region at a step.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Its quantities.
    pub quantities: Quantities,
    /// Whether requests can be sent there.
    pub reachable: bool,
    /// Whether it is drained, by a window too.
    pub draining: bool,
    /// Whether the other well regions have capacity for what it serves: if not, it does not leave
    /// because of load.
    pub room: bool,
    /// Whether its own report is recent enough for it to come back.
    pub may_return: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            quantities: Quantities::NONE,
            reachable: true,
            draining: false,
            room: true,
            may_return: true,
        }
    }
}

/// The state of all regions of a plan.
#[derive(Clone, Debug)]
pub struct Board {
    regions: Vec<RegionHealth>,
    now: Duration,
}

#[derive(Clone, Debug)]
struct RegionHealth {
    /// If a quantity has too few samples, the last judgement is kept.
    last: Quantities,
    reach: Reach,
    draining: bool,
    /// By judgement.
    machines: Vec<Machine>,
}

impl Board {
    /// Starts with every region well once it is reached.
    pub fn new(plan: &Plan, now: Duration) -> Self {
        let region = RegionHealth {
            last: Quantities::NONE,
            reach: Reach::NEVER,
            draining: false,
            machines: vec![Machine::WELL; plan.judgements().len()],
        };
        Self {
            regions: vec![region; plan.regions().len()],
            now,
        }
    }

    /// Records what is known about every region, in the plan's order.
    ///
    /// While the gateway suspects itself, no region leaves or returns because of quantities, and
    /// time does not count; a region that cannot be reached leaves nevertheless.
    pub fn step(&mut self, plan: &Plan, readings: &[Reading], suspect: bool, now: Duration) {
        let passed = now.saturating_sub(self.now);
        self.now = now;
        for (region, reading) in self.regions.iter_mut().zip(readings) {
            region.step(plan, reading, suspect.then_some(passed), now);
        }
    }

    /// Returns the state for another plan: kept for the pairs that both have, the worst of a
    /// region's states for a new pair, and none for a new region.
    #[must_use]
    pub fn adopt(&self, old: &Plan, new: &Plan) -> Self {
        let mut board = Self::new(new, self.now);
        for (index, region) in (0..).map(RegionIndex).zip(&mut board.regions) {
            let Some(known) = old.region_index(new.region_id(index).as_str()) else {
                continue;
            };
            let known = &self.regions[known.get()];
            let worst = known.worst(old, self.now);
            let machines = new.judgements().iter().map(|judgement| {
                let kept = old.judgements().iter().position(|it| it == judgement);
                kept.map_or(worst, |kept| known.machines[kept])
            });
            *region = RegionHealth {
                machines: machines.collect(),
                ..known.clone()
            };
        }
        board
    }

    /// Returns a region's state by one of the plan's judgements.
    pub fn state(&self, region: RegionIndex, judgement: usize) -> State {
        self.regions[region.get()].machines[judgement].state()
    }

    /// Returns the regions that no request can be sent to.
    pub fn unreachable(&self) -> RegionMask {
        self.those(|region| !region.reach.is_open())
    }

    /// Returns the regions that are drained.
    pub fn draining(&self) -> RegionMask {
        self.those(|region| region.draining)
    }

    /// Returns the state by each of the plan's judgements, as facts are made from it.
    pub fn standings(&self, plan: &Plan) -> Vec<RegionStanding> {
        let judgements = plan.judgements().iter().enumerate();
        let standing = judgements.map(|(at, judgement)| {
            let ramps = self.indexed().filter_map(|(index, region)| {
                let machine = &region.machines[at];
                let ramping = matches!(machine.state(), State::Ramping { .. });
                ramping.then(|| (index, machine.position(judgement, self.now)))
            });
            RegionStanding {
                left: self.those(|region| region.machines[at].state() == State::Left),
                ramps: ramps.collect(),
            }
        });
        standing.collect()
    }

    fn indexed(&self) -> impl Iterator<Item = (RegionIndex, &RegionHealth)> {
        let indexes = (0..).map(RegionIndex);
        indexes.zip(&self.regions)
    }

    fn those(&self, are: impl Fn(&RegionHealth) -> bool) -> RegionMask {
        let those = self.indexed().filter(|(_, region)| are(region));
        those.map(|(index, _)| index).collect()
    }
}

impl RegionHealth {
    /// Returns the machine with the state that is least ready to serve.
    fn worst(&self, plan: &Plan, now: Duration) -> Machine {
        let machines = self.machines.iter().zip(plan.judgements());
        let worst = machines.min_by_key(|(machine, judgement)| {
            let left = machine.state() == State::Left;
            (!left, machine.position(judgement, now))
        });
        worst.map_or(Machine::WELL, |(machine, _)| *machine)
    }

    fn step(&mut self, plan: &Plan, reading: &Reading, stood: Option<Duration>, now: Duration) {
        self.last = reading.quantities.or(self.last);
        let lost = self.reach.step(reading.reachable, now);
        let drain_ended = self.draining && !reading.draining;
        self.draining = reading.draining;
        let evidence = Evidence {
            quantities: self.last,
            room: reading.room,
            may_return: reading.may_return && self.reach.is_open(),
        };
        for (machine, judgement) in self.machines.iter_mut().zip(plan.judgements()) {
            if lost {
                machine.leave();
            }
            if drain_ended && machine.state() != State::Left {
                machine.come_back(judgement, now);
            }
            match stood {
                Some(passed) => machine.stand_still(passed),
                None => machine.step(judgement, &evidence, now),
            }
        }
    }
}
