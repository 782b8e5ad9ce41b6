//! From what the fleet knows to the conditions that decisions are made from.

use std::sync::Arc;
use std::time::Duration;

use tidegate_model::RegionId;
use tidegate_traffic::facts::Conditions;
use tidegate_traffic::health::{Board, Reading, State};
use tidegate_traffic::plan::{OpenWindows, Plan, Quantity, RegionIndex, RegionMask};

use crate::fleet::Fleet;
use crate::opinion::Opinion;
use crate::region::FleetRegion;
use crate::suspicion::Set;

/// The state of every region by every judgement of one plan.
#[derive(Clone, Debug)]
pub struct Judge {
    plan: Arc<Plan>,
    board: Board,
    opinion: Opinion,
    /// The plan's regions in the fleet's list, as it was when it had so many.
    places: Vec<Option<usize>>,
    listed: usize,
}

/// What the well regions can still take.
struct Spare {
    well: RegionMask,
    /// Those of them that declare no capacity.
    unbounded: RegionMask,
    /// What the others declare, less what they serve.
    sum: f64,
}

impl Judge {
    /// Begins with every region well once it is reached.
    pub fn new(plan: Arc<Plan>, fleet: &Fleet) -> Self {
        Self {
            board: Board::new(&plan, fleet.now()),
            plan,
            opinion: Opinion::default(),
            places: Vec::new(),
            listed: 0,
        }
    }

    /// Returns the judge of another plan, which keeps the states that both have.
    #[must_use]
    pub fn adopt(&self, plan: Arc<Plan>) -> Self {
        Self {
            board: self.board.adopt(&self.plan, &plan),
            plan,
            opinion: self.opinion,
            places: Vec::new(),
            listed: 0,
        }
    }

    /// Judges all regions, while windows are open.
    pub fn step(&mut self, fleet: &Fleet, open: OpenWindows) {
        self.find_places(fleet);
        let drained = self.plan.drained_by(open);
        let spare = self.spare(fleet);
        let readings: Vec<_> = self
            .indexes()
            .map(|index| {
                let mut reading = self.reading(fleet, index);
                reading.draining |= drained.has(index);
                reading.room = self.has_room_for(&spare, fleet, index);
                reading
            })
            .collect();
        let suspects = fleet.suspects();
        self.board
            .step(&self.plan, &readings, suspects, fleet.now());
        self.opinion = self.opinion_of(fleet);
    }

    /// Returns what the fleet needs to know at its next tick; of the plan in force.
    pub fn opinion(&self) -> &Opinion {
        &self.opinion
    }

    /// Returns the conditions that facts are made from.
    pub fn conditions(&self, fleet: &Fleet, open: OpenWindows) -> Conditions {
        Conditions {
            local: self.plan.region_index(fleet.regions()[0].id().as_str()),
            near: self.near(fleet),
            draining: self.board.draining(),
            unreachable: self.board.unreachable(),
            open,
            standings: self.board.standings(&self.plan),
        }
    }

    /// Returns a region's state by one of the plan's judgements.
    pub fn state(&self, region: RegionIndex, judgement: usize) -> State {
        self.board.state(region, judgement)
    }

    /// Returns the regions that no request can be sent to.
    pub fn unreachable(&self) -> RegionMask {
        self.board.unreachable()
    }

    /// Returns the regions that are drained, by a window too.
    pub fn draining(&self) -> RegionMask {
        self.board.draining()
    }

    /// Returns whether a region other than this one is well and undrained: else it is not drained
    /// unless it is forced.
    pub fn another_is_well(&self, region: &RegionId) -> bool {
        let own = self.plan.region_index(region.as_str());
        self.indexes().any(|it| Some(it) != own && self.is_well(it))
    }

    fn reading(&self, fleet: &Fleet, index: RegionIndex) -> Reading {
        let Some(place) = self.place(index) else {
            return Reading {
                reachable: false,
                ..Reading::default()
            };
        };
        let region = &fleet.regions()[place];
        let own = Fleet::is_own(place);
        Reading {
            quantities: region.quantities(),
            reachable: own || region.is_reachable(),
            draining: fleet.drains(place),
            room: true,
            may_return: own || region.is_fresh(fleet.now()),
        }
    }

    fn is_well(&self, index: RegionIndex) -> bool {
        let apart = self.board.draining().or(self.board.unreachable());
        !apart.has(index) && !self.has_left(index)
    }

    fn has_left(&self, index: RegionIndex) -> bool {
        let mut judgements = 0..self.plan.judgements().len();
        judgements.any(|it| self.board.state(index, it) == State::Left)
    }

    fn spare(&self, fleet: &Fleet) -> Spare {
        let well: RegionMask = self.indexes().filter(|it| self.is_well(*it)).collect();
        let capacity = |it: RegionIndex| self.plan.regions()[it.get()].capacity;
        let each = well
            .iter()
            .filter_map(|it| Some(f64::from(capacity(it)?) - self.rate(fleet, it)));
        Spare {
            well,
            unbounded: well.iter().filter(|it| capacity(*it).is_none()).collect(),
            sum: each.sum(),
        }
    }

    /// Returns whether the well others have capacity for what a region serves. One that declares none
    /// may take everything.
    fn has_room_for(&self, spare: &Spare, fleet: &Fleet, region: RegionIndex) -> bool {
        let others = spare.well.without(RegionMask::of(region));
        if others.is_empty() || !spare.unbounded.and(others).is_empty() {
            return !others.is_empty();
        }
        let serves = self.rate(fleet, region);
        let capacity = self.plan.regions()[region.get()].capacity;
        let capacity = capacity.filter(|_| spare.well.has(region));
        let own = capacity.map_or(0.0, |capacity| f64::from(capacity) - serves);
        spare.sum - own >= serves
    }

    fn rate(&self, fleet: &Fleet, index: RegionIndex) -> f64 {
        let place = self.place(index);
        place.map_or(0.0, |place| fleet.regions()[place].said().rate)
    }

    fn place(&self, index: RegionIndex) -> Option<usize> {
        self.places[index.get()]
    }

    fn find_places(&mut self, fleet: &Fleet) {
        // A region's place never changes, so that only new ones have to be looked for.
        if self.listed != fleet.regions().len() {
            self.listed = fleet.regions().len();
            let regions = self.plan.regions().iter();
            self.places = regions.map(|region| fleet.place(&region.id)).collect();
        }
    }

    fn opinion_of(&self, fleet: &Fleet) -> Opinion {
        let mut opinion = Opinion {
            p99: self.least_p99(),
            ..Opinion::default()
        };
        for index in self.indexes() {
            let Some(place) = self.place(index) else {
                continue;
            };
            let seen = fleet.regions()[place].seen();
            let leaves = self.plan.judgements().iter();
            let mut leaves = leaves.filter_map(|it| it.leave.as_ref());
            let against = leaves.any(|leave| seen.exceed(&leave.when, true));
            opinion.left |= Set::from(self.has_left(index)) << place;
            opinion.against |= Set::from(against) << place;
        }
        opinion
    }

    /// Returns the least p99 that a region must be below to return.
    fn least_p99(&self) -> Option<Duration> {
        let bounds = self.plan.judgements().iter().filter_map(|judgement| {
            let comeback = judgement.comeback.as_ref().map(|it| &it.when);
            let when = comeback.or(judgement.leave.as_ref().map(|it| &it.when))?;
            let p99 = when.iter().find(|it| it.quantity == Quantity::P99)?;
            Some(Duration::from_micros(p99.bound))
        });
        bounds.min()
    }

    /// Returns the regions by their round trip, this gateway's own first.
    fn near(&self, fleet: &Fleet) -> Vec<RegionIndex> {
        let trip = |place, region: &FleetRegion| match place {
            own if Fleet::is_own(own) => Some(Duration::ZERO),
            _ => region.round_trip(fleet.now()),
        };
        let regions = fleet.regions().iter().enumerate();
        let mut near: Vec<_> = regions
            .filter_map(|(place, region)| {
                let index = self.plan.region_index(region.id().as_str());
                Some((trip(place, region)?, index?))
            })
            .collect();
        near.sort_unstable();
        near.into_iter().map(|(_, index)| index).collect()
    }

    fn indexes(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        let count = self.plan.regions().len() as u8;
        (0..count).map(RegionIndex)
    }
}

#[cfg(test)]
mod tests;
