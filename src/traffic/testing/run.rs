//! Runs a test: the facts that its givens make, and the decision.

use super::expected::Wanted;
use super::given::{Change, State};
use super::never::prove;
use super::read::Test;
use crate::decide::decide;
use crate::facts::{Conditions, Facts, Standing};
use crate::plan::{Join, Judgement, Plan, Quantity, RegionIndex, RegionMask};
use crate::schedule::Schedule;

/// Runs a test in a plan; `first` is where requests enter that are not given a region.
///
/// # Errors
///
/// Says what came instead, and why.
pub(crate) fn run(
    test: &Test<'_>,
    plan: &Plan,
    schedule: &Schedule,
    first: Option<RegionIndex>,
) -> Result<(), String> {
    if let Wanted::Never(never) = test.expected.wanted {
        return prove(plan, schedule, &test.givens, never);
    }
    let facts = Facts::new(plan, conditions(test, plan, schedule, first));
    let owned = test.givens.request();
    let request = owned.request();
    let decision = decide(plan, &facts, &request);
    test.expected.compare(plan, &facts, &request, &decision)
}

fn conditions(
    test: &Test<'_>,
    plan: &Plan,
    schedule: &Schedule,
    first: Option<RegionIndex>,
) -> Conditions {
    let givens = &test.givens;
    let local = givens.entry.or(first);
    let states = &givens.states;
    let with = |state: State| -> RegionMask {
        let same = states.iter().filter(move |change| change.state == state);
        same.map(|change| change.region).collect()
    };
    Conditions {
        local,
        near: near(plan, local),
        draining: with(State::Drained),
        unreachable: with(State::Unreachable),
        open: givens.time_ms.map(|time_ms| schedule.open(time_ms)).unwrap_or_default(),
        standings: plan
            .judgements()
            .iter()
            .map(|judgement| Standing {
                left: with(State::Left).or(left(judgement, states)),
                ramps: ramps(states),
            })
            .collect(),
    }
}

fn ramps(states: &[Change]) -> Vec<(RegionIndex, u16)> {
    let ramps = states.iter().filter_map(|change| match change.state {
        State::Ramp(position) => Some((change.region, position)),
        _ => None,
    });
    ramps.collect()
}

/// Returns the regions that leave by quantities which have held for long.
fn left(judgement: &Judgement, states: &[Change]) -> RegionMask {
    let Some(leave) = &judgement.leave else {
        return RegionMask::EMPTY;
    };
    let value = |region: RegionIndex, quantity: Quantity| {
        let last = states.iter().rev().find_map(|change| match change.state {
            State::Quantity(of, value) if of == quantity && change.region == region => Some(value),
            _ => None,
        });
        last.unwrap_or(0)
    };
    let regions: RegionMask = states.iter().map(|change| change.region).collect();
    let leaves = |region: &RegionIndex| {
        let mut measures = leave.when.iter().map(|one| value(*region, one.quantity) > one.bound);
        match leave.when.join() {
            Join::Or => measures.any(|exceeded| exceeded),
            Join::And => measures.all(|exceeded| exceeded),
        }
    };
    regions.iter().filter(leaves).collect()
}

/// Returns the regions by their distance to one.
fn near(plan: &Plan, from: Option<RegionIndex>) -> Vec<RegionIndex> {
    let place = |region: RegionIndex| plan.regions()[region.get()].place;
    let mut near: Vec<_> = plan.all_regions().iter().collect();
    let distance = |to: RegionIndex| match (from.and_then(place), place(to)) {
        _ if Some(to) == from => 0.0,
        (Some(from), Some(to)) => from.distance_km(&to),
        _ => f64::INFINITY,
    };
    near.sort_by(|one, other| distance(*one).total_cmp(&distance(*other)).then(one.cmp(other)));
    near
}
