//! What is proven never to happen does not happen, whatever the facts are that the givens leave open.

use proptest::prelude::*;

use super::given::{Change, Givens, State};
use super::never::Prover;
use super::timeline::{Outcome, STEPS_MAX, play};
use crate::decide::{Request, Target, decide};
use crate::facts::{Conditions, Facts, RegionStanding};
use crate::plan::{OpenWindows, Plan, Quantity, RegionIndex, RegionMask};
use crate::random::Random;
use crate::schedule::Schedule;

/// A client or none, and one state each for some regions.
fn givens(random: &mut Random, plan: &Plan) -> Givens {
    let mut givens = Givens::default();
    if random.0.bool() {
        givens.entry = plan.all_regions().iter().find(|_| random.0.bool());
    }
    if random.0.bool() {
        givens.client = Some(random.client());
    }
    for region in random.some_of(plan.all_regions()).iter() {
        let state = match random.0.u8(0..10) {
            0 => State::Left,
            1 => State::Drained,
            2 => State::Unreachable,
            3 => State::Ramp(random.0.u16(0..=10_000)),
            4 => State::Quantity(Quantity::Errors, 1_000_000),
            5 => State::Quantity(Quantity::P99, random.0.u64(0..50_000)),
            _ => State::Quantity(Quantity::Errors, 0),
        };
        givens.states.push(Change {
            after: None,
            region,
            state,
        });
    }
    givens
}

/// Facts in which the given regions are as they are given, and the others in any state.
fn facts(random: &mut Random, plan: &Plan, givens: &Givens, outcome: &Outcome) -> Facts {
    let other = random.facts(plan).conditions().clone();
    let given: RegionMask = givens.states.iter().map(|change| change.region).collect();
    let or = |said: RegionMask, other: RegionMask| said.and(given).or(other.without(given));
    let standings = outcome.standings.iter().zip(&other.standings);
    let standings = standings.map(|(said, other)| {
        let of_given = |(region, _): &&(RegionIndex, u16)| given.has(*region);
        let ramps = said.ramps.iter().filter(of_given);
        let ramps = ramps.chain(other.ramps.iter().filter(|ramp| !of_given(ramp)));
        RegionStanding {
            left: or(said.left, other.left),
            ramps: ramps.copied().collect(),
        }
    });
    let conditions = Conditions {
        local: givens.entry.or(other.local),
        draining: or(outcome.draining, other.draining),
        unreachable: or(outcome.unreachable, other.unreachable),
        open: OpenWindows(random.0.u64(0..8)),
        standings: standings.collect(),
        ..other.clone()
    };
    Facts::new(plan, conditions)
}

proptest! {
    #[test]
    fn what_is_proven_never_to_happen_does_not_happen(seed: u64) {
        let mut random = Random::new(seed);
        let plan = random.plan();
        let givens = givens(&mut random, &plan);
        let schedule = Schedule::new(plan.windows());
        let mut prover = Prover::new(&plan, &[&givens]);
        let mut steps = STEPS_MAX;
        let regions = plan.all_regions().iter();
        let never: RegionMask = regions
            .filter(|region| {
                let one = RegionMask::of(*region);
                prover.prove(&schedule, &givens, one, &mut steps).is_ok()
            })
            .collect();
        let outcome = play(&plan, &schedule, &givens, &mut steps).unwrap();
        for _ in 0..50 {
            let facts = facts(&mut random, &plan, &givens, &outcome);
            let headers = random.headers();
            let request = random.request(&headers);
            let client = givens.client.unwrap_or(request.client);
            let request = Request { client, ..request };
            let chosen = match decide(&plan, &facts, &request).region {
                Target::Region(region) => Some(region),
                Target::Here => facts.local(),
                Target::Status(_) => None,
            };
            prop_assert!(chosen.is_none_or(|region| !never.has(region)), "{chosen:?}");
        }
    }
}
