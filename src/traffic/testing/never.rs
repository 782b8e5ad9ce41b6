//! `expect never`: a proof over all requests that match the givens.

use super::given::{Change, Givens, State};
use super::timeline::{Outcome, TOO_LONG, play};
use crate::check::space::{Requests, Space, WORDS_MAX};
use crate::hash::RAMP_END;
use crate::plan::{
    Clauses, Condition, Else, OpenWindows, Plan, Quantity, RegionIndex, RegionMask, WindowEffect,
};
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
    /// is given. What is too complex to decide is assumed to be possible. A proof concerns the decision: what
    /// fails afterwards may still be tried with a standby. `steps` are those that timelines may still take.
    pub(crate) fn prove(
        &mut self,
        schedule: &Schedule,
        givens: &Givens,
        never: RegionMask,
        steps: &mut usize,
    ) -> Result<(), String> {
        let outcome = play(self.plan, schedule, &certain(givens), steps);
        let outcome = outcome.ok_or_else(|| TOO_LONG.to_owned())?;
        let serving = serving(self.plan, givens, &outcome);
        let space = &mut self.space;
        let mut open = space.matched(&givens.condition());
        for (at, policy) in self.plan.policies().iter().enumerate() {
            let both = open.as_ref().zip(self.matched[at].as_ref());
            let reached = both.and_then(|(open, matched)| space.both(open, matched));
            if reached.is_some_and(|reached| reached.is_empty()) {
                continue;
            }
            let possible = possible(self.plan, schedule, givens, (&outcome, serving), at);
            if let Some(region) = possible.and(never).iter().next() {
                let (name, region) = (Quoted(&policy.name), self.plan.region_id(region));
                return Err(format!(
                    "it could not be proven that policy {name} sends no such request to {region}"
                ));
            }
            let rest = both.and_then(|(open, matched)| space.without(open, matched));
            open = rest.or(open);
        }
        Ok(())
    }
}

/// Returns the givens whose effect does not depend on the other regions: by its load a region leaves only
/// while they have capacity for it, so such a quantity is taken as good.
fn certain(givens: &Givens) -> Givens {
    let mut certain = givens.clone();
    for Change { state, .. } in &mut certain.states {
        if let State::Quantity(Quantity::P99 | Quantity::Saturation, value) = state {
            *value = 0;
        }
    }
    certain
}

/// Returns the regions that serve, whatever the state of the others: at the end they are well by every
/// judgement, and no window drains them. One that has drained a region leaves it ramping.
fn serving(plan: &Plan, givens: &Givens, outcome: &Outcome) -> RegionMask {
    let given = givens.states.iter().map(|change| change.region);
    let open = givens
        .states
        .iter()
        .filter(|change| depends_on_others(plan, change.state))
        .map(|change| change.region);
    let drained = plan.windows().iter().map(|window| match &window.effect {
        WindowEffect::Drain(regions) => *regions,
        WindowEffect::Replace(_) => RegionMask::EMPTY,
    });
    let standings = outcome.standings.iter().map(|standing| {
        let ramps = standing.ramps.iter().filter(|(_, at)| *at < RAMP_END);
        let ramping: RegionMask = ramps.map(|(region, _)| *region).collect();
        standing.left.or(ramping)
    });
    let out = [outcome.draining, outcome.unreachable, open.collect()];
    let out = out.into_iter().chain(drained).chain(standings);
    let given: RegionMask = given.collect();
    given.without(out.fold(RegionMask::EMPTY, RegionMask::or))
}

/// Whether a given is one by which a region may leave or stay away, depending on the room that others have.
fn depends_on_others(plan: &Plan, state: State) -> bool {
    let State::Quantity(quantity @ (Quantity::P99 | Quantity::Saturation), value) = state else {
        return false;
    };
    plan.judgements().iter().any(|judgement| {
        let leave = judgement.leave.iter().flat_map(|leave| leave.when.iter());
        let mut leave = leave.filter(|measure| measure.quantity == quantity);
        let comeback = judgement.comeback.iter();
        let comeback = comeback.flat_map(|comeback| comeback.when.iter());
        let mut comeback = comeback.filter(|measure| measure.quantity == quantity);
        leave.any(|measure| value > measure.bound) || comeback.any(|it| value >= it.bound)
    })
}

/// Returns the regions that a policy may choose; `serving` are those that certainly serve.
fn possible(
    plan: &Plan,
    schedule: &Schedule,
    givens: &Givens,
    (outcome, serving): (&Outcome, RegionMask),
    policy: usize,
) -> RegionMask {
    let clauses: Vec<&Clauses> = clauses(plan, schedule, givens, policy);
    let panics = clauses
        .iter()
        .any(|clauses| clauses.panic_below.is_some_and(|below| below > 0));
    let local = clauses
        .iter()
        .any(|clauses| clauses.otherwise == Some(Else::Local));
    let left = match panics {
        true => RegionMask::EMPTY,
        false => left(plan, schedule, givens, outcome, policy),
    };
    let out = outcome.draining.or(outcome.unreachable).or(left);
    let drained = givens
        .time_ms
        .map(|time_ms| plan.drained_by(schedule.open(time_ms)));
    let out = out.or(drained.unwrap_or_default());
    let serving = serving.without(out);
    let entries: Vec<Option<RegionIndex>> = match givens.entry {
        Some(entry) => vec![Some(entry)],
        // A gateway's region need not be declared.
        None => {
            let declared = plan.all_regions().iter().map(Some);
            declared.chain([None]).collect()
        }
    };
    let chosen = entries.iter().map(|entry| {
        let named = plan.named(policy, *entry);
        let mut reached = RegionMask::EMPTY;
        for tier in &plan.policies()[policy].tiers {
            let regions = tier.regions(*entry).and(named);
            reached = reached.or(regions);
            // No later tier is asked.
            if !regions.and(serving).is_empty() {
                return reached.without(out);
            }
        }
        let here = entry.filter(|_| local).map(RegionMask::of);
        reached.without(out).or(here.unwrap_or_default())
    });
    chosen.fold(RegionMask::EMPTY, RegionMask::or)
}

/// Returns the regions that have left by whatever clauses may be in force for a policy.
fn left(
    plan: &Plan,
    schedule: &Schedule,
    givens: &Givens,
    outcome: &Outcome,
    policy: usize,
) -> RegionMask {
    let mut by_each = outcome.standings.iter().map(|standing| standing.left);
    let open = givens.time_ms.map(|time_ms| schedule.open(time_ms));
    let always_closed = plan.windows().is_empty().then(OpenWindows::default);
    let left = match open.or(always_closed) {
        Some(open) => by_each.nth(plan.judgement_of(policy, open)),
        None => by_each.reduce(RegionMask::and),
    };
    left.unwrap_or_default()
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
