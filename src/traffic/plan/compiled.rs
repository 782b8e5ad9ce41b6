//! The plan as a whole, checked for the properties that the decision relies on.

use std::collections::HashMap;

use tidegate_model::RegionId;

use crate::hash::Rendezvous;
use crate::plan::index::Index;
use crate::plan::places::Places;
use crate::plan::{
    Clauses, Judgement, OpenWindows, POLICIES_MAX, Policy, REGIONS_MAX, Region, RegionIndex,
    RegionMask, Tier, WINDOWS_MAX, Window, WindowEffect,
};

/// Most distinct pairs of `leave` and `return`: the state of every region is kept for each.
const JUDGEMENTS_MAX: usize = 1024;

/// The parts of a plan, as produced by the compiler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// All regions, sorted by name: the lower index wins a tie.
    pub regions: Vec<Region>,
    /// The policies in the order of the file; the last one matches everything.
    pub policies: Vec<Policy>,
    /// The clauses of `defaults`.
    pub defaults: Clauses,
    /// The windows in the order of the file.
    pub windows: Vec<Window>,
}

/// A traffic policy, compiled; immutable.
#[derive(Debug)]
pub struct Plan {
    sources: Sources,
    places: Places,
    rendezvous: Vec<Rendezvous>,
    judgements: Vec<Judgement>,
    pairs: HashMap<PairOf, u16>,
    pub(crate) index: Index,
}

/// A policy, and the windows that replace its `leave` and its `return`.
type PairOf = (usize, Option<usize>, Option<usize>);

impl Plan {
    /// Compiles the last step: the distinct judgements, and the index that finds the policy.
    ///
    /// # Errors
    ///
    /// States which bound the sources exceed or which rule they violate.
    pub fn new(sources: Sources) -> Result<Self, PlanError> {
        check(&sources)?;
        let (judgements, pairs) = judgements(&sources)?;
        let places = sources
            .regions
            .iter()
            .map(|region| region.place.unwrap_or_default());
        let places = Places::new(places);
        Ok(Self {
            index: Index::new(&sources.policies),
            rendezvous: sources
                .regions
                .iter()
                .map(|region| Rendezvous::new(region.id.as_str()))
                .collect(),
            sources,
            places,
            judgements,
            pairs,
        })
    }

    /// Returns the regions, in the order of their names.
    pub fn regions(&self) -> &[Region] {
        &self.sources.regions
    }

    /// Returns the set of all regions.
    pub fn all_regions(&self) -> RegionMask {
        RegionMask::first(self.sources.regions.len())
    }

    /// Returns a region's index.
    pub fn region_index(&self, name: &str) -> Option<RegionIndex> {
        let by_name = |region: &Region| region.id.as_str().cmp(name);
        let found = self.sources.regions.binary_search_by(by_name).ok()?;
        u8::try_from(found).ok().map(RegionIndex)
    }

    /// Returns a region's name.
    pub fn region_id(&self, region: RegionIndex) -> &RegionId {
        &self.sources.regions[region.get()].id
    }

    /// Returns the policies in the order in which they are tried.
    pub fn policies(&self) -> &[Policy] {
        &self.sources.policies
    }

    /// Returns the clauses of `defaults`.
    pub fn defaults(&self) -> &Clauses {
        &self.sources.defaults
    }

    /// Returns the windows.
    pub fn windows(&self) -> &[Window] {
        &self.sources.windows
    }

    /// Returns the distinct pairs of `leave` and `return`, of all policies in all windows.
    pub fn judgements(&self) -> &[Judgement] {
        &self.judgements
    }

    /// Returns the regions that a policy names within its `only`, for a gateway in `local`.
    pub fn named(&self, policy: usize, local: Option<RegionIndex>) -> RegionMask {
        let policy = &self.sources.policies[policy];
        let tiers = policy.tiers.iter().map(|tier| tier.regions(local));
        let named = tiers.fold(RegionMask::EMPTY, RegionMask::or);
        named.and(policy.only.unwrap_or(self.all_regions()))
    }

    /// Returns the regions that open windows drain.
    pub fn drained_by(&self, open: OpenWindows) -> RegionMask {
        let open = self.open(open).map(|(_, window)| &window.effect);
        open.fold(RegionMask::EMPTY, |drained, effect| match effect {
            WindowEffect::Drain(regions) => drained.or(*regions),
            WindowEffect::Replace(_) => drained,
        })
    }

    /// Returns a policy's clauses while windows are open, without its `leave` and `return`.
    pub(crate) fn clauses(&self, policy: usize, open: OpenWindows) -> Clauses {
        let mut clauses = Clauses::default();
        for (_, replaced) in self.replacing(open) {
            clauses.take_rest(replaced);
        }
        clauses.take_rest(&self.sources.policies[policy].clauses);
        clauses.take_rest(&self.sources.defaults);
        clauses
    }

    /// Returns which of the judgements a policy uses while windows are open.
    pub(crate) fn judgement_of(&self, policy: usize, open: OpenWindows) -> usize {
        let leave = self.replacing(open).find(|(_, it)| it.leave.is_some());
        let comeback = self.replacing(open).find(|(_, it)| it.comeback.is_some());
        let pair = (policy, leave.map(|(at, _)| at), comeback.map(|(at, _)| at));
        self.pairs.get(&pair).copied().map_or(0, usize::from)
    }

    /// Returns where the regions are, by index.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Returns the regions' parts of the hash, by index.
    pub(crate) fn rendezvous(&self) -> &[Rendezvous] {
        &self.rendezvous
    }

    fn open(&self, open: OpenWindows) -> impl Iterator<Item = (usize, &Window)> {
        let windows = self.sources.windows.iter().enumerate();
        windows.filter(move |(at, _)| open.has(*at))
    }

    fn replacing(&self, open: OpenWindows) -> impl Iterator<Item = (usize, &Clauses)> {
        self.open(open)
            .filter_map(|(at, window)| match &window.effect {
                WindowEffect::Replace(clauses) => Some((at, clauses)),
                WindowEffect::Drain(_) => None,
            })
    }
}

/// Why sources do not make a valid plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There are too many regions for a set to be one word.
    #[error("a plan has at most {REGIONS_MAX} regions")]
    Regions,
    /// The regions are not sorted by name, or one is repeated.
    #[error("the regions of a plan must be sorted by name")]
    RegionOrder,
    /// There are too many policies.
    #[error("a plan has at most {POLICIES_MAX} policies")]
    Policies,
    /// There are too many windows for a set to be one word.
    #[error("a plan has at most {WINDOWS_MAX} windows")]
    Windows,
    /// A request could match no policy.
    #[error("the last policy of a plan must match everything")]
    NotTotal,
    /// A tier or an `only` has a region that is not declared.
    #[error("every region that a plan names must be declared in it")]
    Undeclared,
    /// Policies and windows make too many pairs of `leave` and `return`.
    #[error("a plan has at most {JUDGEMENTS_MAX} distinct pairs of leave and return")]
    Judgements,
}

fn check(sources: &Sources) -> Result<(), PlanError> {
    let named = |condition: bool, error| if condition { Ok(()) } else { Err(error) };
    named(sources.regions.len() <= REGIONS_MAX, PlanError::Regions)?;
    let ordered = sources.regions.windows(2).all(|two| two[0].id < two[1].id);
    named(ordered, PlanError::RegionOrder)?;
    named(sources.policies.len() <= POLICIES_MAX, PlanError::Policies)?;
    named(sources.windows.len() <= WINDOWS_MAX, PlanError::Windows)?;
    let last = sources.policies.last();
    let total = last.is_some_and(|policy| policy.matches == crate::plan::Condition::ALWAYS);
    named(total, PlanError::NotTotal)?;
    let all = RegionMask::first(sources.regions.len());
    let tiers = sources.policies.iter().flat_map(|policy| &policy.tiers);
    let only = sources.policies.iter().filter_map(|policy| policy.only);
    let mut sets = tiers.map(|tier: &Tier| tier.regions(None)).chain(only);
    named(
        sets.all(|set| set.without(all).is_empty()),
        PlanError::Undeclared,
    )
}

/// Finds the distinct pairs, and which of them each policy has in each window.
fn judgements(sources: &Sources) -> Result<(Vec<Judgement>, HashMap<PairOf, u16>), PlanError> {
    let replaced = |has: fn(&Clauses) -> bool| {
        let windows = sources.windows.iter().enumerate();
        let some = windows.filter_map(move |(at, window)| match &window.effect {
            WindowEffect::Replace(clauses) if has(clauses) => Some((Some(at), clauses)),
            _ => None,
        });
        let none: (Option<usize>, &Clauses) = (None, &sources.defaults);
        std::iter::once(none).chain(some).collect::<Vec<_>>()
    };
    let leaves = replaced(|clauses| clauses.leave.is_some());
    let comebacks = replaced(|clauses| clauses.comeback.is_some());
    let mut known = HashMap::new();
    let (mut judgements, mut pairs) = (Vec::new(), HashMap::new());
    for (at, policy) in sources.policies.iter().enumerate() {
        let own = policy.clauses.or(&sources.defaults);
        for (leave_window, leave) in &leaves {
            for (return_window, comeback) in &comebacks {
                let leave = leave_window.map_or(&own, |_| leave).leave.clone();
                let comeback = return_window.map_or(&own, |_| comeback).comeback.clone();
                let judgement = Judgement { leave, comeback };
                let next = known.len();
                let pair = *known.entry(judgement.clone()).or_insert(next);
                if pair == next {
                    judgements.push(judgement);
                }
                let pair = u16::try_from(pair).map_err(|_overflow| PlanError::Judgements)?;
                pairs.insert((at, *leave_window, *return_window), pair);
            }
        }
    }
    if judgements.len() > JUDGEMENTS_MAX {
        return Err(PlanError::Judgements);
    }
    Ok((judgements, pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::plan_of;
    use crate::plan::Condition;

    fn refused(spoil: impl FnOnce(&mut Sources)) -> Option<PlanError> {
        let mut sources = plan_of(2, vec![Tier::Local]).sources;
        spoil(&mut sources);
        Plan::new(sources).err()
    }

    #[test]
    fn sources_that_a_decision_could_not_rely_on_are_refused() {
        assert_eq!(refused(|_| ()), None);
        let order = refused(|sources| sources.regions.reverse());
        assert_eq!(order, Some(PlanError::RegionOrder));
        let twice = refused(|sources| sources.regions[1] = sources.regions[0].clone());
        assert_eq!(twice, Some(PlanError::RegionOrder));
        let none = refused(|sources| sources.policies.clear());
        assert_eq!(none, Some(PlanError::NotTotal));
        let partial = refused(|sources| sources.policies[0].matches = Condition::Host("a".into()));
        assert_eq!(partial, Some(PlanError::NotTotal));
        let tier = refused(|sources| sources.policies[0].tiers = vec![Tier::Spread(RegionMask(4))]);
        assert_eq!(tier, Some(PlanError::Undeclared));
        let only = refused(|sources| sources.policies[0].only = Some(RegionMask(8)));
        assert_eq!(only, Some(PlanError::Undeclared));
        let many = refused(|sources| {
            sources.policies = vec![sources.policies[0].clone(); POLICIES_MAX + 1];
        });
        assert_eq!(many, Some(PlanError::Policies));
    }

    #[test]
    fn a_region_is_found_by_its_name() {
        let plan = plan_of(8, vec![Tier::Local]);
        for (at, region) in (0..).zip(plan.regions()) {
            assert_eq!(plan.region_index(region.id.as_str()), Some(RegionIndex(at)));
        }
        assert_eq!(plan.region_index("nowhere"), None);
    }
}
