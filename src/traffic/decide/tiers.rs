//! The order of a policy's regions for one request, computed one region at a time.

use std::cell::OnceCell;

use crate::decide::{HINTS_MAX, RegionReason, Request};
use crate::facts::Facts;
use crate::hash::Key;
use crate::plan::{AffinityKey, Plan, RegionIndex, RegionMask, Tier};

/// A policy's tiers for one request.
pub(super) struct Tiers<'a> {
    plan: &'a Plan,
    facts: &'a Facts,
    request: &'a Request<'a>,
    tiers: &'a [Tier],
    affinity: &'a [AffinityKey],
    /// Hashed when first needed: most decisions need no hash.
    key: OnceCell<Key>,
}

impl<'a> Tiers<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        facts: &'a Facts,
        request: &'a Request<'a>,
        policy: usize,
    ) -> Self {
        let policy = &plan.policies()[policy];
        Self {
            plan,
            facts,
            request,
            tiers: &policy.tiers,
            affinity: &policy.affinity,
            key: OnceCell::new(),
        }
    }

    pub(super) fn key(&self) -> Key {
        *self.key.get_or_init(|| self.request.key(self.affinity))
    }

    /// Returns the first of some regions, and the kind of tier that has it.
    pub(super) fn first(&self, among: RegionMask) -> Option<(RegionIndex, RegionReason)> {
        let local = self.facts.local();
        self.tiers.iter().find_map(|tier| {
            let regions = tier.regions(local).and(among);
            let (found, reason) = match tier {
                Tier::Named(_) => (regions.iter().next(), RegionReason::Named),
                Tier::Local => (regions.iter().next(), RegionReason::Local),
                Tier::Nearest(_) => (self.nearest(regions), RegionReason::Nearest),
                Tier::Spread(_) => (self.spread(regions), RegionReason::Spread),
                Tier::Weighted(weights) => {
                    (self.weighted(weights, regions), RegionReason::Weighted)
                }
            };
            found.map(|region| (region, reason))
        })
    }

    fn nearest(&self, regions: RegionMask) -> Option<RegionIndex> {
        if regions.is_empty() {
            return None;
        }
        if !self.request.hint.is_empty()
            && let Some(hinted) = self.hinted(regions)
        {
            return Some(hinted);
        }
        let Some(client) = self.request.place else {
            return regions
                .iter()
                .min_by_key(|region| self.facts.near_rank(*region));
        };
        self.plan.places().nearest(&client, regions)
    }

    fn hinted(&self, regions: RegionMask) -> Option<RegionIndex> {
        let names = self.request.hint.split(',').take(HINTS_MAX);
        let mut known = names.filter_map(|name| self.plan.region_index(name.trim_ascii()));
        known.find(|region| regions.has(*region))
    }

    fn spread(&self, regions: RegionMask) -> Option<RegionIndex> {
        if regions.len() < 2 {
            return regions.iter().next();
        }
        let (key, hashes) = (self.key(), self.plan.rendezvous());
        let scored = regions
            .iter()
            .map(|region| (region, hashes[region.get()].score(key)));
        greatest(scored, 0)
    }

    fn weighted(&self, weights: &[(RegionIndex, u32)], among: RegionMask) -> Option<RegionIndex> {
        if among.len() < 2 {
            return among.iter().next();
        }
        let (key, hashes) = (self.key(), self.plan.rendezvous());
        let among = weights.iter().filter(|(region, _)| among.has(*region));
        let scored = among.map(|(region, weight)| {
            let score = hashes[region.get()].weighted_score(key, *weight);
            (*region, score)
        });
        greatest(scored, f64::NEG_INFINITY)
    }
}

/// Returns the region with the greatest score; among equal ones the first by name.
fn greatest<S: PartialOrd>(
    scored: impl Iterator<Item = (RegionIndex, S)>,
    least: S,
) -> Option<RegionIndex> {
    let mut best = None;
    let mut best_score = least;
    for (region, score) in scored {
        if best.is_none_or(|best| score > best_score || score == best_score && region < best) {
            (best, best_score) = (Some(region), score);
        }
    }
    best
}
