//! Where the loads of one policy go when regions are lost, and whether the others can take them.

use crate::check::draft::DraftPolicy;
use crate::check::names::Declared;
use crate::plan::{REGIONS_MAX, RegionIndex, RegionMask, Tier};

/// The error that rounding may add to a sum of loads.
const ROUNDING: f64 = 1e-6;

/// Why a policy does not survive.
pub(super) enum Failure {
    /// If these are lost, no region is left; with the entry if it matters.
    NoneLeft(RegionMask, Option<RegionIndex>),
    /// If these are lost, a region gets more than its capacity.
    Overloaded(RegionMask, RegionIndex, f64),
    /// Checking would take too long.
    Unproven,
}

/// Where one policy sends load.
pub(super) struct Survival<'a> {
    declared: &'a Declared<'a>,
    /// What `only` allows.
    within: RegionMask,
    /// What tiers name, without `local`.
    named: RegionMask,
    has_local: bool,
    /// For each region, where its load goes: the first step with a remaining region.
    steps: Vec<Vec<Step>>,
    /// For each region, all regions by distance to it.
    near: &'a [Vec<RegionIndex>],
}

/// Where load may go.
enum Step {
    One(RegionIndex),
    /// To the region where it enters.
    Entry,
    /// To each of these in proportion.
    Shared(Vec<(RegionIndex, u32)>),
}

impl<'a> Survival<'a> {
    /// Returns `None` for a policy that was not understood.
    pub(super) fn new(
        declared: &'a Declared<'a>,
        policy: &DraftPolicy<'_, '_>,
        near: &'a [Vec<RegionIndex>],
    ) -> Option<Self> {
        let named = policy.named(None)?;
        let tiers: Vec<_> = policy
            .tiers
            .as_ref()?
            .iter()
            .map(|(tier, _)| tier)
            .collect();
        let regions = &declared.regions;
        let measured = regions.iter().any(|region| region.load.is_some())
            && regions.iter().any(|region| region.capacity.is_some());
        let steps = near
            .iter()
            .filter(|_| measured)
            .map(|near| steps(&tiers, near));
        Some(Self {
            declared,
            within: policy.allowed(declared.all()),
            named,
            has_local: policy.has_local(),
            steps: steps.collect(),
            near,
        })
    }

    /// Returns the first failure if some regions are drained and up to a number of them lost.
    pub(super) fn failure(
        &self,
        drained: RegionMask,
        most: u32,
        left: &mut usize,
    ) -> Option<Failure> {
        let allowed = self.within.without(drained);
        if let Some((lost, entry)) = self.none_left(allowed, most) {
            return Some(Failure::NoneLeft(lost, entry));
        }
        if self.steps.is_empty() {
            return None;
        }
        (0..=most).find_map(|count| self.overloaded(allowed, RegionMask::EMPTY, 0, count, left))
    }

    /// Returns regions whose loss leaves none, and for which entry if it matters.
    fn none_left(
        &self,
        allowed: RegionMask,
        most: u32,
    ) -> Option<(RegionMask, Option<RegionIndex>)> {
        let named = self.named.and(allowed);
        if !self.has_local {
            return (named.len() <= most).then_some((named, None));
        }
        if self.declared.all().len() <= most {
            return Some((self.declared.all(), None));
        }
        let mut stranded = self.declared.all().without(allowed).iter();
        let entry = stranded.next().filter(|_| named.len() <= most)?;
        Some((named, Some(entry)))
    }

    /// Tries all combinations of losing `more` further regions from `from` on.
    fn overloaded(
        &self,
        allowed: RegionMask,
        lost: RegionMask,
        from: usize,
        more: u32,
        left: &mut usize,
    ) -> Option<Failure> {
        if more == 0 {
            return self.asked_too_much(allowed, lost, left);
        }
        (from..self.declared.regions.len()).find_map(|next| {
            let lost = lost.or(RegionMask::of(RegionIndex(next as u8)));
            self.overloaded(allowed, lost, next + 1, more - 1, left)
        })
    }

    fn asked_too_much(
        &self,
        allowed: RegionMask,
        lost: RegionMask,
        left: &mut usize,
    ) -> Option<Failure> {
        let mut asked = [0_f64; REGIONS_MAX];
        for (at, region) in self.declared.regions.iter().enumerate() {
            let Some(load) = region.load else { continue };
            let taken = self.place(at, f64::from(load), allowed.without(lost), lost, &mut asked);
            match left.checked_sub(taken) {
                Some(fewer) => *left = fewer,
                None => return Some(Failure::Unproven),
            }
        }
        let capacity = |region: RegionIndex| self.declared.regions[region.get()].capacity;
        let too_much = |region: &RegionIndex| {
            let most = capacity(*region).map(|most| f64::from(most) * (1.0 + ROUNDING));
            most.is_some_and(|most| asked[region.get()] > most)
        };
        let region = self.declared.all().iter().find(too_much)?;
        Some(Failure::Overloaded(lost, region, asked[region.get()]))
    }

    /// Adds one region's load to those that serve it; returns how many steps that took.
    fn place(
        &self,
        from: usize,
        load: f64,
        usable: RegionMask,
        lost: RegionMask,
        asked: &mut [f64; REGIONS_MAX],
    ) -> usize {
        let mut taken = 1;
        for step in &self.steps[from] {
            taken += 1;
            match step {
                Step::One(region) if usable.has(*region) => {
                    asked[region.get()] += load;
                    break;
                }
                Step::One(_) => {}
                Step::Entry => {
                    let mut near = self.near[from].iter();
                    let entry = near.find(|region| !lost.has(**region));
                    if let Some(entry) = entry.filter(|entry| usable.has(**entry)) {
                        asked[entry.get()] += load;
                        break;
                    }
                }
                Step::Shared(weights) => {
                    taken += weights.len();
                    let usable = || weights.iter().filter(|(region, _)| usable.has(*region));
                    let sum: f64 = usable().map(|(_, weight)| f64::from(*weight)).sum();
                    for (region, weight) in usable() {
                        asked[region.get()] += load * f64::from(*weight) / sum;
                    }
                    if sum > 0.0 {
                        break;
                    }
                }
            }
        }
        taken
    }
}

fn steps(tiers: &[&Tier], near: &[RegionIndex]) -> Vec<Step> {
    let mut steps = Vec::new();
    for tier in tiers {
        match tier {
            Tier::Named(region) => steps.push(Step::One(*region)),
            Tier::Local => steps.push(Step::Entry),
            Tier::Nearest(regions) => {
                let inside = near.iter().filter(|region| regions.has(**region));
                steps.extend(inside.map(|region| Step::One(*region)));
            }
            Tier::Spread(regions) => {
                steps.push(Step::Shared(
                    regions.iter().map(|region| (region, 1)).collect(),
                ));
            }
            Tier::Weighted(weights) => steps.push(Step::Shared(weights.clone())),
        }
    }
    steps
}
