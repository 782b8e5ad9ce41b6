//! Windows: when they are open and what they do.

use std::collections::HashSet;

use crate::check::clauses::repeated;
use crate::check::conditions::kept;
use crate::check::draft::{DraftClauses, DraftEffect, DraftWindow};
use crate::check::names::Declared;
use crate::check::times::{hours, instant, weekdays, zone};
use crate::check::values::name;
use crate::plan::Period;
use crate::syntax::ast::{Block, Body, Word};
use crate::syntax::{Diagnostic, Diagnostics, Quoted};

/// Reads a window.
pub(crate) fn window<'t, 's>(
    block: &'t Block<'s>,
    declared: &Declared<'s>,
    found: &mut Diagnostics,
) -> DraftWindow<'t, 's> {
    kept(name(block.name), found);
    let mut clauses = DraftClauses {
        broken: block.broken,
        ..DraftClauses::default()
    };
    let mut periods = Vec::new();
    let mut drain = None;
    let (mut has_period, mut is_known) = (false, !block.broken);
    for clause in &block.clauses {
        if clauses.add(clause, found) {
            continue;
        }
        match &clause.body {
            Body::Every { days, hours, zone } => {
                has_period = true;
                periods.extend(every(days, *hours, *zone, found));
            }
            Body::From(from, to) => {
                has_period = true;
                periods.extend(once(*from, *to, found));
            }
            Body::Drain(_) if drain.is_some() => {
                found.push(repeated(clause.keyword));
                is_known = false;
            }
            Body::Drain(names) => {
                let regions = declared.list(names, found);
                is_known &= regions.is_some();
                drain = Some((regions.unwrap_or_default(), clause.span));
            }
            _ => {}
        }
    }
    if !block.broken {
        whole(block, has_period, drain.is_some(), &clauses, found);
    }
    // Which of two effects is meant is not known, so nothing is said of what either would lead to.
    is_known &= drain.is_none() || clauses.written.is_empty();
    let effect = match drain {
        Some((regions, span)) => DraftEffect::Drain(regions, span),
        None => DraftEffect::Replace(clauses),
    };
    DraftWindow {
        name: block.name,
        periods,
        effect: is_known.then_some(effect),
    }
}

/// Reports a window without a period, without an effect, or with two effects.
fn whole(
    block: &Block<'_>,
    has_period: bool,
    drains: bool,
    clauses: &DraftClauses<'_, '_>,
    found: &mut Diagnostics,
) {
    let window = Quoted(block.name.text);
    let mut refuse = |span, title: String, right: &str| {
        found.push(Diagnostic::error(span, title).help(right));
    };
    if !has_period {
        let right = "state when: `every sunday 02:00-03:00 Europe/Berlin`";
        refuse(
            block.name.span,
            format!("window {window} is never open"),
            right,
        );
    }
    match (drains, clauses.written.values().next()) {
        (false, None) => {
            let right = "state its effect: `drain eu-central-1`, or a clause such as `else 503`";
            refuse(
                block.name.span,
                format!("window {window} does nothing"),
                right,
            );
        }
        (true, Some(clause)) => {
            let title = format!("window {window} both drains and replaces a clause");
            refuse(
                clause.keyword.span,
                title,
                "write two windows with the same periods",
            );
        }
        _ => {}
    }
}

fn every(
    days: &[Word<'_>],
    period: Word<'_>,
    zone_name: Word<'_>,
    found: &mut Diagnostics,
) -> Option<Period> {
    let mut seen = HashSet::new();
    let mut set = Some(0);
    for day in days {
        if !seen.insert(day.text) {
            found.push(crate::check::names::twice(*day));
            continue;
        }
        let day = kept(weekdays(*day), found);
        set = set.zip(day).map(|(set, day)| set | day);
    }
    let hours = kept(hours(period), found);
    let zone = kept(zone(zone_name), found);
    let (begin_minute, end_minute) = hours?;
    Some(Period::Every {
        weekdays: set?,
        begin_minute,
        end_minute,
        zone: zone?.into(),
    })
}

fn once(from: Word<'_>, to: Word<'_>, found: &mut Diagnostics) -> Option<Period> {
    let begin = kept(instant(from), found);
    let end = kept(instant(to), found);
    let (begin_ms, end_ms) = (begin?, end?);
    if end_ms <= begin_ms {
        let title = "this period ends before it begins";
        found.push(Diagnostic::error(to.span, title).help("write an instant after the first one"));
        return None;
    }
    Some(Period::Once { begin_ms, end_ms })
}
