//! Loss of regions: whether some are left, and whether these stay within their capacity.
//!
//! The load that enters at a region is treated as clients at its location, and for each policy as
//! if all of it were governed by that policy. A lost region's clients enter at the nearest
//! remaining one.

use std::collections::BTreeSet;

use crate::check::draft::{ClauseKind, DraftEffect, DraftPolicy};
use crate::check::names::Declared;
use crate::check::rules::Rules;
use crate::plan::{OpenWindows, REGIONS_MAX, RegionIndex, RegionMask, Tier};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Span};

/// Most steps to place loads for one file: they take some tenths of a second.
const STEPS_MAX: usize = 30_000_000;

/// The error that rounding may add to a sum of loads.
const ROUNDING: f64 = 1e-6;

/// Reports policies that do not survive the required loss of regions, and warns about those that do
/// not survive the loss of one.
pub(crate) fn survive(rules: &Rules<'_, '_, '_>, found: &mut Diagnostics) {
    let mut left = STEPS_MAX;
    let near: Vec<_> = rules
        .declared
        .all()
        .iter()
        .map(|from| by_distance(rules.declared, from))
        .collect();
    for policy in rules.policies {
        let Some(survival) = Survival::new(rules.declared, policy, &near) else {
            continue;
        };
        for (drained, required, open) in situations(rules, policy) {
            let most = required.map_or(1, |(survived, _)| survived);
            if let Some(failure) = survival.failure(drained, most, &mut left) {
                found.push(report(rules, policy, required, open, &failure));
                break;
            }
        }
    }
}

/// The drained regions, the number of regions that may be lost and where that is written, and the
/// open windows.
type Situation = (RegionMask, Option<(u32, Option<Span>)>, OpenWindows);

/// Returns the distinct situations of a policy, the one outside all windows first.
fn situations(rules: &Rules<'_, '_, '_>, policy: &DraftPolicy<'_, '_>) -> Vec<Situation> {
    let own = policy
        .clauses
        .require
        .map(|survived| (survived, policy.clauses.span(ClauseKind::Require)));
    let default = rules.defaults.require.map(|survived| (survived, None));
    let windows = rules.windows.iter().enumerate();
    let requiring: Vec<_> = windows
        .filter_map(|(at, window)| match window.effect.as_ref()? {
            DraftEffect::Replace(clauses) => Some((at, clauses.require?)),
            DraftEffect::Drain(..) => None,
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut situations = Vec::new();
    for together in rules.together {
        let replaced = requiring.iter().find(|(at, _)| together.open.has(*at));
        let replaced = replaced.map(|(_, survived)| (*survived, None));
        let required = replaced.or(own).or(default);
        if seen.insert((together.drained.0, required.map(|(survived, _)| survived))) {
            situations.push((together.drained, required, together.open));
        }
    }
    situations
}

/// Why a policy does not survive.
enum Failure {
    /// If these are lost, no region is left; with the entry if it matters.
    NoneLeft(RegionMask, Option<RegionIndex>),
    /// If these are lost, a region gets more than its capacity.
    Overloaded(RegionMask, RegionIndex, f64),
    /// Checking would take too long.
    Unproven,
}

fn report(
    rules: &Rules<'_, '_, '_>,
    policy: &DraftPolicy<'_, '_>,
    required: Option<(u32, Option<Span>)>,
    open: OpenWindows,
    failure: &Failure,
) -> Diagnostic {
    let title = failure.title(rules.declared, policy) + &while_open(rules, open);
    let diagnostic = match required {
        Some((survived, span)) => {
            let regions = if survived == 1 {
                "region".to_owned()
            } else {
                format!("{survived} regions")
            };
            Diagnostic::error(span.unwrap_or(policy.name.span), title).note(format!(
                "`require survive {survived}` means that any {regions} may be lost"
            ))
        }
        None => Diagnostic::warning(policy.name.span, title),
    };
    diagnostic.help(match failure {
        Failure::NoneLeft(..) => "name more regions in `prefer`",
        Failure::Overloaded(..) => "prefer more regions, or declare more capacity",
        Failure::Unproven => "name fewer regions, or `require survive` fewer",
    })
}

impl Failure {
    fn title(&self, declared: &Declared<'_>, policy: &DraftPolicy<'_, '_>) -> String {
        let name = Quoted(policy.name.text);
        let well = "even with every region well";
        match self {
            Self::NoneLeft(lost, entry) => {
                let entry = entry
                    .map(|entry| format!(" for requests that enter in {}", declared.name(entry)));
                let entry = entry.unwrap_or_default();
                match lost.is_empty() {
                    true => format!("policy {name} has no region{entry}, {well}"),
                    false => format!(
                        "losing {} leaves policy {name} no region{entry}",
                        declared.names_of(*lost)
                    ),
                }
            }
            Self::Overloaded(lost, region, asked) => {
                let capacity = declared.regions[region.get()].capacity.unwrap_or_default();
                let much = format!(
                    "{} {} rps, above its capacity of {capacity}",
                    declared.name(*region),
                    asked.ceil()
                );
                match lost.is_empty() {
                    true => format!("policy {name} sends {much}, {well}"),
                    false => format!(
                        "losing {} makes policy {name} send {much}",
                        declared.names_of(*lost)
                    ),
                }
            }
            Self::Unproven => {
                format!("policy {name} has too many combinations of lost regions to try them all")
            }
        }
    }
}

/// Names the open windows, as the end of a message.
fn while_open(rules: &Rules<'_, '_, '_>, open: OpenWindows) -> String {
    let windows = rules
        .windows
        .iter()
        .enumerate()
        .filter(|(at, _)| open.has(*at));
    let names: Vec<_> = windows
        .map(|(_, window)| Quoted(window.name.text).to_string())
        .collect();
    match names.len() {
        0 => String::new(),
        1 => format!(", while {} is open", names[0]),
        _ => format!(", while {} are open", names.join(" and ")),
    }
}

/// Where one policy sends load.
struct Survival<'a> {
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
    fn new(
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
    fn failure(&self, drained: RegionMask, most: u32, left: &mut usize) -> Option<Failure> {
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
