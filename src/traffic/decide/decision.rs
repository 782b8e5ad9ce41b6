//! From a policy's order and the facts to the region that serves.

use crate::decide::tiers::Tiers;
use crate::decide::{RegionReason, Request, governing};
use crate::facts::{Facts, PolicyFacts};
use crate::plan::{Else, Plan, RegionIndex, RegionMask};

/// Where a request goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionDecision {
    /// The policy that governs the request, by its index in the plan.
    pub policy: usize,
    /// Where the request goes.
    pub region: Target,
    /// Where it would have gone with every region well; `None` if the policy names none here.
    pub proposed: Option<RegionIndex>,
    /// The regions to try next.
    pub standbys: Standbys,
    /// How the region was chosen, or why the proposed one was passed over.
    pub reason: RegionReason,
}

/// What serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A region.
    Region(RegionIndex),
    /// This gateway, whatever the state of its region.
    Here,
    /// No region: it is answered with this status.
    Status(u16),
}

/// The regions that a request may be sent to if the first one cannot take it.
///
/// Only the set: most requests need none, so the order is computed on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standbys {
    /// The regions that admit the request's key.
    let_in: RegionMask,
    /// Regions whose ramp excludes it, for when there is no other.
    held_back: RegionMask,
}

impl Standbys {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Returns all of them.
    pub fn all(&self) -> RegionMask {
        self.let_in.or(self.held_back)
    }

    /// Returns them in order; `policy` is the decision's.
    pub fn in_order<'a>(
        mut self,
        plan: &'a Plan,
        facts: &'a Facts,
        request: &'a Request<'a>,
        policy: usize,
    ) -> impl Iterator<Item = RegionIndex> {
        let tiers = Tiers::new(plan, facts, request, policy);
        std::iter::from_fn(move || {
            let (next, _) = self.first(&tiers)?;
            self = self.without(next);
            Some(next)
        })
    }

    fn first(&self, tiers: &Tiers<'_>) -> Option<(RegionIndex, RegionReason)> {
        let let_in = tiers.first(self.let_in);
        let_in.or_else(|| tiers.first(self.held_back))
    }

    fn without(self, region: RegionIndex) -> Self {
        let region = RegionMask::of(region);
        Self {
            let_in: self.let_in.without(region),
            held_back: self.held_back.without(region),
        }
    }
}

/// Decides which region serves a request.
pub fn decide(plan: &Plan, facts: &Facts, request: &Request<'_>) -> RegionDecision {
    let policy = governing(plan, request);
    let held = facts.policy(policy);
    let tiers = Tiers::new(plan, facts, request, policy);
    let proposed = tiers.first(held.named);
    let candidates = candidates(facts, held, &tiers);
    let chosen = match proposed {
        Some(first) if candidates.let_in.has(first.0) => proposed,
        _ => candidates.first(&tiers),
    };
    let proposed = proposed.map(|(region, _)| region);
    let Some((region, how)) = chosen else {
        return RegionDecision {
            policy,
            region: match held.otherwise {
                Else::Local => Target::Here,
                Else::Status(status) => Target::Status(status),
            },
            proposed,
            standbys: Standbys::default(),
            reason: RegionReason::Else,
        };
    };
    RegionDecision {
        policy,
        region: Target::Region(region),
        proposed,
        standbys: candidates.without(region),
        reason: reason(facts, held, region, proposed, how),
    }
}

/// Returns the regions that may serve, by whether their ramps admit the request's key.
fn candidates(facts: &Facts, held: &PolicyFacts, tiers: &Tiers<'_>) -> Standbys {
    let ramping = held.usable.and(held.ramping);
    if ramping.is_empty() {
        return Standbys {
            let_in: held.usable,
            held_back: RegionMask::EMPTY,
        };
    }
    let key = tiers.key();
    let is_held_back = |region: &RegionIndex| !key.is_let_in(facts.ramp(held, *region));
    let held_back = ramping.iter().filter(is_held_back).collect();
    Standbys {
        let_in: held.usable.without(held_back),
        held_back,
    }
}

fn reason(
    facts: &Facts,
    held: &PolicyFacts,
    region: RegionIndex,
    proposed: Option<RegionIndex>,
    how: RegionReason,
) -> RegionReason {
    match proposed {
        Some(proposed) if proposed != region => {
            if facts.draining().has(proposed) {
                RegionReason::Draining
            } else if held.left.has(proposed) {
                RegionReason::Left
            } else {
                RegionReason::Ramping
            }
        }
        _ if held.left.has(region) => RegionReason::Panic,
        _ => how,
    }
}
