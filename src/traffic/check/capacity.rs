//! Losing regions: that some are left, and that these are not asked for more than their capacity.
//!
//! What enters at a region is taken as clients at its place, and for each policy as if all of it were
//! that policy's. A lost region's clients enter at the nearest one that is left.

use std::collections::BTreeSet;

use crate::check::draft::{ClauseKind, DraftEffect, DraftPolicy};
use crate::check::names::Declared;
use crate::check::rules::Rules;
use crate::plan::{OpenWindows, RegionIndex, RegionMask, Tier};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Span, counted};

/// Placements of one region's load that are tried for one file: some tenths of a second's worth.
const PLACEMENTS_MAX: usize = 20_000_000;

/// What rounding may add to a sum of loads.
const ROUNDING: f64 = 1e-6;

/// Reports policies that do not survive the loss of as many regions as they must, and warns of those
/// that do not survive the loss of one.
pub(crate) fn survive(rules: &Rules<'_, '_, '_>, found: &mut Diagnostics) {
    let mut left = PLACEMENTS_MAX;
    for policy in rules.policies {
        for (drained, required, open) in situations(rules, policy) {
            let most = required.map_or(1, |(survived, _)| survived);
            let failure = Survival::new(rules.declared, policy, drained)
                .and_then(|survival| survival.failure(most, &mut left));
            if let Some(failure) = failure {
                found.push(report(rules, policy, required, open, &failure));
                break;
            }
        }
    }
}

/// What is drained, how many regions must be survivable and where that is said, and the windows.
type Situation = (RegionMask, Option<(u32, Option<Span>)>, OpenWindows);

/// Returns the distinct situations of a policy, that outside all windows first.
fn situations(rules: &Rules<'_, '_, '_>, policy: &DraftPolicy<'_, '_>) -> Vec<Situation> {
    let own = policy
        .clauses
        .require
        .map(|survived| (survived, policy.clauses.span(ClauseKind::Require)));
    let default = rules.defaults.require.map(|survived| (survived, None));
    let mut seen = BTreeSet::new();
    let mut situations = Vec::new();
    for (open, _) in rules.together {
        let windows = rules
            .windows
            .iter()
            .enumerate()
            .filter(|(at, _)| open.has(*at));
        let replaced = windows.filter_map(|(_, window)| match window.effect.as_ref()? {
            DraftEffect::Replace(clauses) => Some((clauses.require?, None)),
            DraftEffect::Drain(..) => None,
        });
        let required = replaced.last().or(own).or(default);
        let drained = rules.drained(*open);
        if seen.insert((drained.0, required.map(|(survived, _)| survived))) {
            situations.push((drained, required, *open));
        }
    }
    situations
}

/// Why a policy does not survive.
enum Failure {
    /// When these are lost, no region is left; the entry, where it matters.
    NoneLeft(RegionMask, Option<RegionIndex>),
    /// When these are lost, a region is asked for more than its capacity.
    Overloaded(RegionMask, RegionIndex, f64),
    /// It would take too long to find out.
    Unproven,
}

fn report(
    rules: &Rules<'_, '_, '_>,
    policy: &DraftPolicy<'_, '_>,
    required: Option<(u32, Option<Span>)>,
    open: OpenWindows,
    failure: &Failure,
) -> Diagnostic {
    let declared = rules.declared;
    let name = Quoted(policy.name.text);
    let well = "even with every region well";
    let what = match failure {
        Failure::NoneLeft(lost, entry) => {
            let entry =
                entry.map(|entry| format!(" for requests that enter in {}", declared.name(entry)));
            let entry = entry.unwrap_or_default();
            match lost.is_empty() {
                true => format!("policy {name} has no region{entry}, {well}"),
                false => format!(
                    "losing {} leaves policy {name} no region{entry}",
                    declared.names_of(*lost)
                ),
            }
        }
        Failure::Overloaded(lost, region, asked) => {
            let capacity = declared.regions[region.get()].capacity.unwrap_or_default();
            let much = format!(
                "{} for {} rps of its {capacity}",
                declared.name(*region),
                asked.ceil()
            );
            match lost.is_empty() {
                true => format!("policy {name} asks {much}, {well}"),
                false => format!(
                    "losing {} makes policy {name} ask {much}",
                    declared.names_of(*lost)
                ),
            }
        }
        Failure::Unproven => {
            format!("policy {name} leaves too many ways to lose regions to try them all")
        }
    };
    let names: Vec<_> = rules
        .windows
        .iter()
        .enumerate()
        .filter(|(at, _)| open.has(*at))
        .collect();
    let names: Vec<_> = names
        .iter()
        .map(|(_, window)| Quoted(window.name.text).to_string())
        .collect();
    let diagnostic = match required {
        Some((survived, span)) => {
            let regions = counted(survived as usize, "region");
            let error = Diagnostic::error(span.unwrap_or(policy.name.span), what);
            error.note(format!(
                "`require survive {survived}` asks that any {regions} may be lost"
            ))
        }
        None => Diagnostic::warning(policy.name.span, what),
    };
    let right = match failure {
        Failure::NoneLeft(..) => "name more regions in `prefer`",
        Failure::Overloaded(..) => "prefer more regions, or declare more capacity",
        Failure::Unproven => "name fewer regions, or `require survive` fewer",
    };
    let while_open = match names.is_empty() {
        true => String::new(),
        false => format!(
            ", while {} {} open",
            names.join(" and "),
            if names.len() == 1 { "is" } else { "are" }
        ),
    };
    let title = diagnostic.title.clone() + &while_open;
    Diagnostic {
        title,
        ..diagnostic
    }
    .help(right)
}

/// One policy in one situation.
struct Survival<'a> {
    declared: &'a Declared<'a>,
    /// What may serve: within `only`, undrained.
    allowed: RegionMask,
    /// What tiers name, without `local`.
    named: RegionMask,
    has_local: bool,
    /// For each region, where its load goes: the first step that has something left.
    steps: Vec<Vec<Step>>,
    /// For each region, all regions by their distance to it.
    near: Vec<Vec<RegionIndex>>,
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
    /// Returns nothing for a policy that was not understood.
    fn new(
        declared: &'a Declared<'a>,
        policy: &DraftPolicy<'_, '_>,
        drained: RegionMask,
    ) -> Option<Self> {
        let within = match policy.only {
            crate::check::draft::Only::Any => declared.all(),
            crate::check::draft::Only::These(only, _) => only,
            crate::check::draft::Only::Unknown => return None,
        };
        let tiers: Vec<_> = policy
            .tiers
            .as_ref()?
            .iter()
            .map(|(tier, _)| tier)
            .collect();
        let near: Vec<_> = declared
            .all()
            .iter()
            .map(|from| by_distance(declared, from))
            .collect();
        let steps = near.iter().map(|near| steps(&tiers, near));
        Some(Self {
            declared,
            allowed: within.without(drained),
            named: policy.named(None)?,
            has_local: policy.has_local(),
            steps: steps.collect(),
            near,
        })
    }

    /// Returns the first failure when up to so many regions are lost.
    fn failure(&self, most: u32, left: &mut usize) -> Option<Failure> {
        if let Some((lost, entry)) = self.none_left(most) {
            return Some(Failure::NoneLeft(lost, entry));
        }
        let regions = &self.declared.regions;
        let loaded = regions.iter().any(|region| region.load.is_some());
        if !loaded || regions.iter().all(|region| region.capacity.is_none()) {
            return None;
        }
        (0..=most).find_map(|count| self.overloaded(RegionMask::EMPTY, 0, count, left))
    }

    /// Returns regions whose loss leaves none, and for which entry if it matters.
    fn none_left(&self, most: u32) -> Option<(RegionMask, Option<RegionIndex>)> {
        let named = self.named.and(self.allowed);
        if !self.has_local {
            return (named.len() <= most).then_some((named, None));
        }
        if self.declared.all().len() <= most {
            return Some((self.declared.all(), None));
        }
        let mut stranded = self.declared.all().without(self.allowed).iter();
        let entry = stranded.next().filter(|_| named.len() <= most)?;
        Some((named, Some(entry)))
    }

    /// Tries all ways to lose `more` further regions from `from` on.
    fn overloaded(
        &self,
        lost: RegionMask,
        from: usize,
        more: u32,
        left: &mut usize,
    ) -> Option<Failure> {
        if more == 0 {
            return self.asked_too_much(lost, left);
        }
        let regions = from..self.declared.regions.len();
        regions.into_iter().find_map(|next| {
            let lost = lost.or(RegionMask::of(RegionIndex(next as u8)));
            self.overloaded(lost, next + 1, more - 1, left)
        })
    }

    fn asked_too_much(&self, lost: RegionMask, left: &mut usize) -> Option<Failure> {
        let mut asked = [0_f64; crate::plan::REGIONS_MAX];
        for (at, region) in self.declared.regions.iter().enumerate() {
            let Some(load) = region.load else { continue };
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Some(Failure::Unproven),
            }
            self.place(at, f64::from(load), lost, &mut asked);
        }
        let mut regions = self.declared.all().iter();
        let too_much = regions.find(|region| {
            let capacity = self.declared.regions[region.get()].capacity;
            capacity.is_some_and(|capacity| {
                asked[region.get()] > f64::from(capacity) * (1.0 + ROUNDING)
            })
        })?;
        Some(Failure::Overloaded(lost, too_much, asked[too_much.get()]))
    }

    fn place(&self, from: usize, load: f64, lost: RegionMask, asked: &mut [f64]) {
        let usable = self.allowed.without(lost);
        for step in &self.steps[from] {
            match step {
                Step::One(region) if usable.has(*region) => asked[region.get()] += load,
                Step::Entry => {
                    let mut near = self.near[from].iter();
                    match near.find(|region| !lost.has(**region)) {
                        Some(entry) if usable.has(*entry) => asked[entry.get()] += load,
                        _ => continue,
                    }
                }
                Step::Shared(weights) => {
                    let usable = || weights.iter().filter(|(region, _)| usable.has(*region));
                    let sum: f64 = usable().map(|(_, weight)| f64::from(*weight)).sum();
                    if sum == 0.0 {
                        continue;
                    }
                    for (region, weight) in usable() {
                        asked[region.get()] += load * f64::from(*weight) / sum;
                    }
                }
                Step::One(_) => continue,
            }
            return;
        }
    }
}

/// Returns all regions by their distance to one, itself first; those without a place last.
fn by_distance(declared: &Declared<'_>, from: RegionIndex) -> Vec<RegionIndex> {
    let place = |region: RegionIndex| declared.regions[region.get()].place;
    let mut near: Vec<_> = declared.all().iter().collect();
    near.sort_by(|one, other| {
        let distance = |to: RegionIndex| match (place(from), place(to)) {
            _ if to == from => 0.0,
            (Some(from), Some(to)) => from.distance_km(&to),
            _ => f64::INFINITY,
        };
        distance(*one)
            .total_cmp(&distance(*other))
            .then(one.cmp(other))
    });
    near
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
