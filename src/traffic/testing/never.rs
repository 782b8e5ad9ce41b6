//! `expect never`: a proof over all requests that match the givens.

use super::given::{Givens, State};
use crate::check::space::{Requests, Space, WORDS_MAX};
use crate::plan::{Clauses, Condition, Else, Plan, RegionIndex, RegionMask, WindowEffect};
use crate::schedule::Schedule;
use crate::syntax::Quoted;

/// Proves what never happens in a plan.
pub(crate) struct Prover<'a> {
    plan: &'a Plan,
    space: Space,
    /// The requests that each policy matches; `None` if that is too complex.
    matched: Vec<Option<Requests>>,
}

impl<'a> Prover<'a> {
    /// Prepares a plan for proofs with these givens.
    pub(crate) fn new(plan: &'a Plan, givens: &[&Givens]) -> Self {
        let policies = plan.policies().iter().map(|policy| &policy.matches);
        let given: Vec<Condition> = givens.iter().map(|givens| givens.condition()).collect();
        let mut space = Space::of(policies.clone().chain(&given), 2 * WORDS_MAX);
        Self {
            plan,
            matched: policies.map(|condition| space.matched(condition)).collect(),
            space,
        }
    }

    /// Proves that no request that matches the givens goes to any of these regions; otherwise
    /// states how one may.
    ///
    /// Regions whose state is not given may be in any state, and windows may be open unless a time
    /// is given. What is too complex to decide is assumed to be possible.
    pub(crate) fn prove(
        &mut self,
        schedule: &Schedule,
        givens: &Givens,
        never: RegionMask,
    ) -> Result<(), String> {
        let space = &mut self.space;
        let mut open = space.matched(&givens.condition());
        for (at, policy) in self.plan.policies().iter().enumerate() {
            let both = open.as_ref().zip(self.matched[at].as_ref());
            let reached = both.and_then(|(open, matched)| space.both(open, matched));
            if reached.is_some_and(|reached| reached.is_empty()) {
                continue;
            }
            let possible = possible(self.plan, schedule, givens, at).and(never);
            if let Some(region) = possible.iter().next() {
                let (name, region) = (Quoted(&policy.name), self.plan.region_id(region));
                return Err(format!("policy {name} may send such a request to {region}"));
            }
            let rest = both.and_then(|(open, matched)| space.without(open, matched));
            open = rest.or(open);
        }
        Ok(())
    }
}

/// Returns the regions that a policy may choose.
fn possible(plan: &Plan, schedule: &Schedule, givens: &Givens, policy: usize) -> RegionMask {
    let clauses: Vec<&Clauses> = clauses(plan, schedule, givens, policy);
    let panics = clauses
        .iter()
        .any(|clauses| clauses.panic_below.is_some_and(|below| below > 0));
    let local = clauses
        .iter()
        .any(|clauses| clauses.otherwise == Some(Else::Local));
    let out = givens.states.iter().filter(|change| match change.state {
        State::Drained | State::Unreachable => true,
        State::Left => !panics,
        State::Ramp(_) | State::Quantity(..) => false,
    });
    let out: RegionMask = out.map(|change| change.region).collect();
    let drained = givens
        .time_ms
        .map(|time_ms| plan.drained_by(schedule.open(time_ms)));
    let out = out.or(drained.unwrap_or_default());
    let entries: Vec<Option<RegionIndex>> = match givens.entry {
        Some(entry) => vec![Some(entry)],
        None => plan.all_regions().iter().map(Some).collect(),
    };
    let chosen = entries.iter().map(|entry| {
        let tiers = plan.named(policy, *entry).without(out);
        let here = entry.filter(|_| local).map(RegionMask::of);
        tiers.or(here.unwrap_or_default())
    });
    chosen.fold(RegionMask::EMPTY, RegionMask::or)
}

/// Returns all clauses that may be in force for a policy.
fn clauses<'a>(
    plan: &'a Plan,
    schedule: &Schedule,
    givens: &Givens,
    policy: usize,
) -> Vec<&'a Clauses> {
    let open = givens.time_ms.map(|time_ms| schedule.open(time_ms));
    let windows = plan.windows().iter().enumerate();
    let maybe_open = windows.filter(|(at, _)| open.is_none_or(|open| open.has(*at)));
    let replaced = maybe_open.filter_map(|(_, window)| match &window.effect {
        WindowEffect::Replace(clauses) => Some(clauses),
        WindowEffect::Drain(_) => None,
    });
    let own = &plan.policies()[policy].clauses;
    // The policy's own clause overrides the default one.
    let mut all: Vec<_> = replaced.chain([own]).collect();
    if own.otherwise.is_none() || own.panic_below.is_none() {
        all.push(plan.defaults());
    }
    all
}
