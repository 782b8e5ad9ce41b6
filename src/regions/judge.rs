//! From samples and the state of nodes to the conditions of the decision: pure, time is passed.

use std::time::Duration;

use super::carried::carried;
use super::record::{Record, RegionView};
use tidegate_traffic::facts::{Conditions, by_distance};
use tidegate_traffic::health::{Board, Outcome, Quantities, Reading, State};
use tidegate_traffic::plan::{OpenWindows, Plan, RegionIndex, RegionMask};
use tidegate_traffic::schedule::Schedule;

/// For how long a region gets no requests before what is known of its nodes counts in their place.
const QUIET: Duration = Duration::from_secs(2);

/// Light in fibre, there and back: about a millisecond for 100 km.
const KM_PER_MS: f64 = 100.0;

/// The state of all regions, as this gateway sees them.
pub struct RegionJudge {
    board: Board,
    regions: Vec<Record>,
    local: Option<RegionIndex>,
    /// By region: the round trip that its distance lets expect, in milliseconds.
    expected_ms: Vec<f64>,
    near: Vec<RegionIndex>,
    schedule: Schedule,
    open: OpenWindows,
    /// When the windows were looked at, and when one opens or closes next.
    looked_ms: i64,
    next_change_ms: Option<i64>,
    /// How the fleet judges the regions, if there is one.
    fleet: Option<Conditions>,
}

impl RegionJudge {
    /// Begins with every region well, or with what was known by another plan; `local` is the region of
    /// this process, if the plan declares it.
    pub fn new(
        plan: &Plan,
        local: Option<RegionIndex>,
        before: Option<(&Plan, &Self)>,
        now: Duration,
    ) -> Self {
        let record = |region: RegionIndex| {
            let (known, judge) = before?;
            let index = known.region_index(plan.region_id(region).as_str())?;
            judge.regions.get(index.get()).cloned()
        };
        let regions = plan.all_regions().iter();
        Self {
            board: match before {
                Some((known, judge)) => judge.board.adopt(known, plan),
                None => Board::new(plan, now),
            },
            regions: regions
                .map(|region| record(region).unwrap_or_default())
                .collect(),
            local,
            expected_ms: expected_ms(plan, local),
            near: by_distance(plan, local),
            schedule: Schedule::new(plan.windows()),
            open: OpenWindows::default(),
            looked_ms: i64::MAX,
            next_change_ms: None,
            fleet: before
                .and_then(|(known, judge)| Some(carried(judge.fleet.as_ref()?, known, plan))),
        }
    }

    /// Records the end of an attempt at a node. `took` is from the request's last byte to the head
    /// of the answer; what the node takes at least, its distance, does not count.
    pub fn add(
        &mut self,
        region: RegionIndex,
        node: &str,
        outcome: Outcome,
        took: Duration,
        now: Duration,
    ) {
        self.regions[region.get()].add(node, outcome, took, now);
    }

    /// Takes in how the fleet judges the regions, which every step then returns.
    pub fn adopt_fleet(&mut self, conditions: Conditions) {
        self.fleet = Some(conditions);
    }

    /// Returns whether the fleet judges the regions.
    pub fn is_of_fleet(&self) -> bool {
        self.fleet.is_some()
    }

    /// Judges all regions by what is known of their nodes, in the plan's order, and by the requests of
    /// those that are `fresh`; of the others what was known at the last step counts. `time_ms` is the
    /// wall clock, since 1970.
    pub fn step(
        &mut self,
        plan: &Plan,
        (views, fresh): (&[RegionView], RegionMask),
        (time_ms, now): (i64, Duration),
    ) -> Conditions {
        self.look_at_windows(time_ms);
        self.probe(plan, views, now);
        let drained = plan.drained_by(self.open);
        let mut readings = Vec::with_capacity(views.len());
        for (region, view) in (0..).map(RegionIndex).zip(views) {
            let record = &mut self.regions[region.get()];
            if fresh.has(region) {
                record.look(now);
            }
            record.quantities.lag = view.lag;
            if !view.answers() {
                record.bad_since.get_or_insert(now);
            }
            readings.push(Reading {
                quantities: record.quantities,
                reachable: view.answers(),
                draining: view.drained || drained.has(region),
                room: true,
                may_return: true,
            });
        }
        for region in plan.all_regions().iter() {
            readings[region.get()].room = self.has_room(plan, region);
        }
        self.board.step(plan, &readings, false, now);
        self.forgive(plan);
        if fresh == plan.all_regions() {
            self.order_by_round_trip(views);
        }
        if let Some(fleet) = &self.fleet {
            return Conditions {
                open: self.open,
                ..fleet.clone()
            };
        }
        Conditions {
            local: self.local,
            near: self.near.clone(),
            draining: drained_by_hand(views),
            unreachable: self.board.unreachable(),
            open: self.open,
            standings: self.board.standings(plan),
        }
    }

    /// Returns the quantities by which a region was judged at the last step.
    pub fn quantities(&self, region: RegionIndex) -> Quantities {
        self.regions[region.get()].quantities
    }

    /// Returns a region's quantities at the last step, of the attempts at its nodes alone.
    pub fn attempted(&self, region: RegionIndex) -> Quantities {
        self.regions[region.get()].attempted()
    }

    /// Returns the attempts per second at a region's nodes at the last step.
    pub fn rate(&self, region: RegionIndex) -> f64 {
        self.regions[region.get()].rate()
    }

    /// Returns since when a region has been bad, if it has.
    pub fn bad_since(&self, region: RegionIndex) -> Option<Duration> {
        self.regions[region.get()].bad_since
    }

    /// Returns the worst state of a region by any of the plan's judgements.
    pub fn worst(&self, plan: &Plan, region: RegionIndex) -> State {
        let judgements = 0..plan.judgements().len();
        let states = judgements.map(|at| self.board.state(region, at));
        let rank = |state: &State| match state {
            State::Left => 0,
            State::Ramping { .. } => 1,
            State::Well => 2,
        };
        states.min_by_key(rank).unwrap_or(State::Well)
    }

    /// Orders the regions by their round trip: as measured, else as expected.
    fn order_by_round_trip(&mut self, views: &[RegionView]) {
        let millis = |region: &RegionIndex| {
            let measured = views.get(region.get()).and_then(RegionView::distance);
            match measured.filter(|_| Some(*region) != self.local) {
                // Whole milliseconds, so that noise does not change the order.
                Some(measured) => (measured.as_secs_f64() * 1_000.0).round(),
                None => self.expected_ms[region.get()],
            }
        };
        self.near
            .sort_by(|one, other| millis(one).total_cmp(&millis(other)).then(one.cmp(other)));
    }

    fn look_at_windows(&mut self, time_ms: i64) {
        let is_due = self.next_change_ms.is_some_and(|next| time_ms >= next);
        if is_due || time_ms < self.looked_ms {
            self.open = self.schedule.open(time_ms);
            self.next_change_ms = self.schedule.next_change(time_ms);
        }
        self.looked_ms = time_ms;
    }

    /// A region that has left gets no requests: checks and the monitor speak for it.
    fn probe(&mut self, plan: &Plan, views: &[RegionView], now: Duration) {
        for (region, view) in (0..).map(RegionIndex).zip(views) {
            let has_left = self.worst(plan, region) == State::Left;
            let record = &mut self.regions[region.get()];
            record.least_usual.resize(view.nodes.len(), Duration::MAX);
            let asked = |at: Duration| now.saturating_sub(at) < QUIET;
            let speaks = has_left && !record.requested_at.is_some_and(asked);
            for (usual, least) in view.nodes.iter().zip(&mut record.least_usual) {
                if let Some(usual) = usual {
                    *least = (*least).min(*usual);
                }
                if speaks {
                    let (outcome, time) = match usual {
                        Some(usual) => (Outcome::Served, usual.saturating_sub(*least)),
                        None => (Outcome::Failed, Duration::ZERO),
                    };
                    record.samples.add(outcome, time, now);
                }
            }
        }
    }

    /// Returns whether the other well regions have capacity for what a region serves, as far as
    /// capacities are declared.
    fn has_room(&self, plan: &Plan, region: RegionIndex) -> bool {
        let rate = |region: RegionIndex| self.regions[region.get()].rate();
        let others = plan.all_regions().without(RegionMask::of(region)).iter();
        let well = others.filter(|it| self.worst(plan, *it) != State::Left);
        let spare = well.map(|it| {
            let capacity = plan.regions()[it.get()].capacity.map(f64::from);
            capacity.map(|capacity| capacity - rate(it))
        });
        let spare: Option<Vec<f64>> = spare.collect();
        match spare {
            Some(spare) => !spare.is_empty() && spare.iter().sum::<f64>() >= rate(region),
            None => true,
        }
    }

    /// A region that is well, and whose last answers were, has no bad time behind it.
    fn forgive(&mut self, plan: &Plan) {
        for region in plan.all_regions().iter() {
            let is_well = self.worst(plan, region) == State::Well;
            let record = &mut self.regions[region.get()];
            let has_errors = record.summary.failed > 0;
            if is_well && !has_errors && !self.board.unreachable().has(region) {
                record.bad_since = None;
            }
        }
    }
}

fn drained_by_hand(views: &[RegionView]) -> RegionMask {
    let views = (0..).map(RegionIndex).zip(views);
    let drained = views.filter(|(_, view)| view.drained);
    drained.map(|(region, _)| region).collect()
}

/// Returns by region the round trip that its distance lets expect.
fn expected_ms(plan: &Plan, local: Option<RegionIndex>) -> Vec<f64> {
    let place = |region: RegionIndex| plan.regions()[region.get()].place;
    let expected = |region: RegionIndex| match (local.and_then(place), place(region)) {
        _ if Some(region) == local => 0.0,
        (Some(from), Some(to)) => from.distance_km(&to) / KM_PER_MS,
        _ => f64::INFINITY,
    };
    plan.all_regions().iter().map(expected).collect()
}
