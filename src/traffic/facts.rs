//! The current facts, as masks: everything that a decision needs and that depends on time.
//!
//! Recomputed whenever something changes, and shared by all requests until then.

use crate::plan::{Else, OpenWindows, Plan, REGIONS_MAX, RegionIndex, RegionMask, Retry};

/// What is known about the regions, before it is computed for each policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// The gateway's own region, if the plan declares it.
    pub local: Option<RegionIndex>,
    /// The regions by their distance to this gateway, nearest first: for clients whose location is
    /// not known. Missing regions come last, by name.
    pub near: Vec<RegionIndex>,
    /// Regions that get no new requests, other than by windows.
    pub draining: RegionMask,
    /// Regions that no request can be sent to.
    pub unreachable: RegionMask,
    /// The windows that are open.
    pub open: OpenWindows,
    /// The state of the regions by each of the plan's judgements; well if one is missing.
    pub standings: Vec<RegionStanding>,
}

/// The state of the regions by one judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionStanding {
    /// The regions that have left.
    pub left: RegionMask,
    /// The regions that are coming back, and how far: of 10,000.
    pub ramps: Vec<(RegionIndex, u16)>,
}

/// The current facts for a plan; immutable.
#[derive(Clone, Debug)]
pub struct Facts {
    conditions: Conditions,
    draining: RegionMask,
    /// By region: its place in the order by distance to this gateway.
    near_rank: [u8; REGIONS_MAX],
    /// By judgement and region.
    ramps: Vec<[u16; REGIONS_MAX]>,
    policies: Vec<PolicyFacts>,
}

/// The current facts for one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyFacts {
    /// The regions that it names within its `only`.
    pub named: RegionMask,
    /// Those of them that may serve: undrained, reachable, and well unless it panics.
    pub usable: RegionMask,
    /// Those that have left or are unreachable.
    pub left: RegionMask,
    /// Those whose ramp is not at its end.
    pub ramping: RegionMask,
    /// Whether `left` is ignored because too little capacity is well.
    pub panics: bool,
    /// What a request gets if no region is left.
    pub otherwise: Else,
    /// Which requests are tried in another region.
    pub retry: Retry,
    judgement: usize,
}

impl RegionStanding {
    /// Returns, for each region, the worst of several states, with which a new judgement begins.
    pub fn worst(standings: &[Self]) -> Self {
        let left = standings.iter().map(|standing| standing.left);
        let left = left.fold(RegionMask::EMPTY, RegionMask::or);
        let ramps = standings.iter().flat_map(|standing| &standing.ramps);
        let mut ramps: Vec<_> = ramps
            .filter(|(region, _)| !left.has(*region))
            .copied()
            .collect();
        ramps.sort_unstable();
        ramps.dedup_by_key(|(region, _)| *region);
        Self { left, ramps }
    }
}

impl Facts {
    /// Computes the facts for each policy of a plan.
    pub fn new(plan: &Plan, conditions: Conditions) -> Self {
        let draining = conditions.draining.or(plan.drained_by(conditions.open));
        let ramps = plan.judgements().iter().enumerate();
        let mut facts = Self {
            draining,
            near_rank: near_rank(&conditions.near),
            ramps: ramps
                .map(|(at, _)| positions(conditions.standings.get(at)))
                .collect(),
            policies: Vec::with_capacity(plan.policies().len()),
            conditions,
        };
        for policy in 0..plan.policies().len() {
            facts.policies.push(facts.of_policy(plan, policy));
        }
        facts
    }

    /// Returns the conditions that the facts were computed from.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Returns the gateway's own region.
    pub fn local(&self) -> Option<RegionIndex> {
        self.conditions.local
    }

    /// Returns the regions that get no new requests, by windows too.
    pub fn draining(&self) -> RegionMask {
        self.draining
    }

    /// Returns the facts for a policy of the plan that they were computed for.
    pub fn policy(&self, policy: usize) -> &PolicyFacts {
        &self.policies[policy]
    }

    /// Returns how far a region's ramp is for a policy, of 10,000.
    pub fn ramp(&self, policy: &PolicyFacts, region: RegionIndex) -> u16 {
        self.ramps[policy.judgement][region.get()]
    }

    /// Returns a region's place in the order by distance to this gateway.
    pub(crate) fn near_rank(&self, region: RegionIndex) -> u8 {
        self.near_rank[region.get()]
    }

    fn of_policy(&self, plan: &Plan, policy: usize) -> PolicyFacts {
        let conditions = &self.conditions;
        let clauses = plan.clauses(policy, conditions.open);
        let judgement = plan.judgement_of(policy, conditions.open);
        let named = plan.named(policy, conditions.local);
        let standing = conditions.standings.get(judgement);
        let left = standing.map_or(RegionMask::EMPTY, |standing| standing.left);
        let ramps = standing.map_or(&[][..], |standing| &standing.ramps);
        let ramping = ramps
            .iter()
            .map(|(region, _)| *region)
            .collect::<RegionMask>();
        let left = left.or(conditions.unreachable).and(named);
        let undrained = named.without(self.draining);
        let well = undrained.without(left);
        let panics = panics(plan, named, well, undrained, clauses.panic_below);
        let usable = if panics { undrained } else { well };
        PolicyFacts {
            named,
            usable: usable.without(conditions.unreachable),
            left,
            ramping: ramping.and(named).without(left),
            panics,
            otherwise: clauses.otherwise.unwrap_or_default(),
            retry: clauses.retry.unwrap_or_default(),
            judgement,
        }
    }
}

/// Returns a plan's regions by their distance to one of them.
pub fn by_distance(plan: &Plan, from: Option<RegionIndex>) -> Vec<RegionIndex> {
    let place = |region: RegionIndex| plan.regions()[region.get()].place;
    let mut near: Vec<_> = plan.all_regions().iter().collect();
    let distance = |to: RegionIndex| match (from.and_then(place), place(to)) {
        _ if Some(to) == from => 0.0,
        (Some(from), Some(to)) => from.distance_km(&to),
        _ => f64::INFINITY,
    };
    near.sort_by(|one, other| {
        distance(*one)
            .total_cmp(&distance(*other))
            .then(one.cmp(other))
    });
    near
}

/// Returns whether the well regions have less than the bound's share of the undrained ones' capacity.
///
/// If a region that the policy names declares no capacity, all count alike.
fn panics(
    plan: &Plan,
    named: RegionMask,
    well: RegionMask,
    undrained: RegionMask,
    below: Option<u32>,
) -> bool {
    const WHOLE: u64 = 1_000_000;
    let capacity = |region: RegionIndex| plan.regions()[region.get()].capacity;
    let alike = named.iter().any(|region| capacity(region).is_none());
    let sum = |regions: RegionMask| -> u64 {
        let each = regions
            .iter()
            .map(|region| if alike { Some(1) } else { capacity(region) });
        each.flatten().map(u64::from).sum()
    };
    sum(well) * WHOLE < sum(undrained) * u64::from(below.unwrap_or(0))
}

fn near_rank(near: &[RegionIndex]) -> [u8; REGIONS_MAX] {
    let mut ranks = [u8::MAX; REGIONS_MAX];
    for (rank, region) in near.iter().enumerate().take(REGIONS_MAX) {
        let known = ranks[region.get()].min(rank as u8);
        ranks[region.get()] = known;
    }
    ranks
}

fn positions(standing: Option<&RegionStanding>) -> [u16; REGIONS_MAX] {
    let mut positions = [crate::hash::RAMP_END; REGIONS_MAX];
    for (region, position) in standing.map_or(&[][..], |standing| &standing.ramps) {
        positions[region.get()] = *position;
    }
    positions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::{judgement, plan_of, region_of};
    use crate::plan::{Clauses, Condition, Leave, Policy, Sources, Tier, Window, WindowEffect};

    /// Two policies, and windows that drain the first region and replace clauses.
    fn plan() -> Plan {
        let all = RegionMask::first(3);
        let plan = plan_of(3, vec![Tier::Nearest(all)]);
        let patient = Leave {
            hold: Duration::from_secs(5),
            ..judgement().leave.unwrap()
        };
        let own = Policy {
            matches: Condition::Host("a".into()),
            clauses: Clauses {
                otherwise: Some(Else::Status(429)),
                ..Clauses::default()
            },
            ..plan.policies()[0].clone()
        };
        let window = |name: &str, effect| Window {
            name: name.into(),
            periods: Vec::new(),
            effect,
        };
        let replaced = Clauses {
            leave: Some(patient),
            otherwise: Some(Else::Local),
            ..Clauses::default()
        };
        let sources = Sources {
            regions: plan.regions().to_vec(),
            policies: vec![own, plan.policies()[0].clone()],
            defaults: plan.defaults().clone(),
            windows: vec![
                window("drain", WindowEffect::Drain(RegionMask(0b001))),
                window("event", WindowEffect::Replace(replaced)),
            ],
        };
        Plan::new(sources).unwrap()
    }

    fn facts(plan: &Plan, open: u64) -> Facts {
        let left = |left| RegionStanding {
            left: RegionMask(left),
            ramps: Vec::new(),
        };
        let conditions = Conditions {
            open: OpenWindows(open),
            standings: vec![left(0b010), left(0b100)],
            ..Conditions::default()
        };
        Facts::new(plan, conditions)
    }

    #[test]
    fn an_open_window_drains_its_regions_for_every_policy() {
        let plan = plan();
        for (open, usable) in [(0b00, 0b101), (0b01, 0b100)] {
            let facts = facts(&plan, open);
            for policy in 0..2 {
                assert_eq!(facts.policy(policy).usable, RegionMask(usable));
            }
        }
    }

    #[test]
    fn a_windows_clause_beats_the_policys_which_beats_the_default() {
        let plan = plan();
        let otherwise = |open| [0, 1].map(|policy| facts(&plan, open).policy(policy).otherwise);
        assert_eq!(otherwise(0b00), [Else::Status(429), Else::Status(503)]);
        assert_eq!(otherwise(0b10), [Else::Local, Else::Local]);
    }

    #[test]
    fn in_a_window_regions_are_judged_by_its_leave() {
        let plan = plan();
        assert_eq!(plan.judgements().len(), 2);
        assert_eq!(facts(&plan, 0b00).policy(1).left, RegionMask(0b010));
        assert_eq!(facts(&plan, 0b10).policy(1).left, RegionMask(0b100));
    }

    #[test]
    fn a_ramping_region_is_well_and_capacities_are_weighed() {
        let panics = |capacities: &[u32], left: u64, ramps: Vec<(RegionIndex, u16)>| {
            let plan = region_of(capacities, 500_000);
            let conditions = Conditions {
                standings: vec![RegionStanding {
                    left: RegionMask(left),
                    ramps,
                }],
                ..Conditions::default()
            };
            Facts::new(&plan, conditions).policy(0).panics
        };
        assert!(panics(&[600, 400], 0b01, vec![]));
        assert!(!panics(&[600, 400], 0b10, vec![]));
        assert!(!panics(&[500, 500], 0b10, vec![]));
        assert!(!panics(&[600, 400], 0b00, vec![(RegionIndex(0), 1)]));
    }

    #[test]
    fn the_worst_of_several_states_is_left_before_the_least_ramp() {
        let standing = |left, ramps: &[(u8, u16)]| RegionStanding {
            left: RegionMask(left),
            ramps: ramps
                .iter()
                .map(|(at, position)| (RegionIndex(*at), *position))
                .collect(),
        };
        let worst = RegionStanding::worst(&[
            standing(0b001, &[(1, 500)]),
            standing(0b000, &[(0, 7), (1, 90), (2, 3)]),
        ]);
        assert_eq!(worst, standing(0b001, &[(1, 90), (2, 3)]));
    }
}
