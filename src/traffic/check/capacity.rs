//! Loss of regions: whether some are left, and whether these stay within their capacity.
//!
//! The load that enters at a region is treated as clients at its location, and for each policy as
//! if all of it were governed by that policy. A lost region's clients enter at the nearest
//! remaining one.

use std::collections::BTreeSet;

use crate::check::draft::{ClauseKind, DraftEffect, DraftPolicy};
use crate::check::names::Declared;
use crate::check::rules::{Rules, Together};
use crate::check::survival::{Failure, Survival};
use crate::plan::{OpenWindows, RegionIndex, RegionMask};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Span};

/// Most steps to place loads for one file: they take some tenths of a second.
const STEPS_MAX: usize = 30_000_000;

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

/// Returns the distinct situations of a policy: those in which survival is required first, since only they make an
/// error; among equals the one outside all windows. Those in which all of its regions are drained are an error of the window.
fn situations(rules: &Rules<'_, '_, '_>, policy: &DraftPolicy<'_, '_>) -> Vec<Situation> {
    let own = policy
        .clauses
        .require
        .map(|survived| (survived, policy.clauses.span(ClauseKind::Require)));
    let default = rules.defaults.require.map(|survived| (survived, None));
    let windows = rules.windows.iter().enumerate();
    let requiring: Vec<_> = windows
        .filter_map(|(at, window)| match window.effect.as_ref()? {
            DraftEffect::Replace(clauses) => {
                Some((at, clauses.require?, clauses.span(ClauseKind::Require)))
            }
            DraftEffect::Drain(..) => None,
        })
        .collect();
    let named = policy.named(None).unwrap_or_default();
    let is_served = |together: &&Together| {
        let all_drained = rules.all_drained(policy, named, together.drained);
        all_drained.is_none()
    };
    let mut seen = BTreeSet::new();
    let mut situations = Vec::new();
    for together in rules.together.iter().filter(is_served) {
        let replaced = requiring.iter().find(|(at, ..)| together.open.has(*at));
        let replaced = replaced.map(|(_, survived, span)| (*survived, *span));
        let required = replaced.or(own).or(default);
        if seen.insert((together.drained.0, required.map(|(survived, _)| survived))) {
            situations.push((together.drained, required, together.open));
        }
    }
    situations.sort_by_key(|(_, required, _)| required.is_none());
    situations
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
