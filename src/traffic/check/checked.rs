//! All checks of a file, one after the other.

use std::collections::HashSet;

use crate::check::capacity::survive;
use crate::check::clauses::repeated;
use crate::check::draft::{DraftClauses, DraftEffect, DraftPolicy, DraftWindow};
use crate::check::names::Declared;
use crate::check::policies::policy;
use crate::check::reach::reach;
use crate::check::rules::{Rules, Together};
use crate::check::together::open_together;
use crate::check::windows::window;
use crate::plan::{OpenWindows, POLICIES_MAX, RegionMask, WINDOWS_MAX};
use crate::syntax::ast::{Block, BlockKind, Body, Item, Word};
use crate::syntax::{Diagnostic, Diagnostics, Parsed, Quoted, Span};

/// Most periods of all windows of a file together: all of them are compared.
const PERIODS_MAX: usize = 1_000;

/// The parts of a file that were understood.
#[derive(Debug)]
pub(crate) struct Checked<'t, 's> {
    pub(crate) declared: Declared<'s>,
    pub(crate) defaults: DraftClauses<'t, 's>,
    pub(crate) policies: Vec<DraftPolicy<'t, 's>>,
    pub(crate) windows: Vec<DraftWindow<'t, 's>>,
}

/// Checks a file and reports errors.
pub(crate) fn check<'t, 's>(parsed: &'t Parsed<'s>, found: &mut Diagnostics) -> Checked<'t, 's> {
    let file = &parsed.file;
    let declared = Declared::of(file, &parsed.lost, found);
    let blocks = |kind| {
        file.items.iter().filter_map(move |item| match item {
            Item::Block(block) if block.kind == kind => Some(block),
            Item::Block(_) | Item::Region(_) | Item::Group(_) => None,
        })
    };
    let mut defaults = DraftClauses::default();
    for (index, block) in blocks(BlockKind::Defaults).enumerate() {
        if index > 0 {
            found.push(repeated(block.keyword));
            continue;
        }
        defaults.broken = block.broken;
        for clause in &block.clauses {
            defaults.add(clause, found);
        }
    }
    let policies = named(
        blocks(BlockKind::Policy),
        POLICIES_MAX,
        "policy",
        "policies",
        found,
    );
    let policies: Vec<_> = policies
        .into_iter()
        .map(|block| policy(block, &declared, found))
        .collect();
    let windows = named(
        blocks(BlockKind::Window),
        WINDOWS_MAX,
        "window",
        "windows",
        found,
    );
    let windows: Vec<_> = windows
        .into_iter()
        .map(|block| window(block, &declared, found))
        .collect();
    most_periods(&blocks(BlockKind::Window).collect::<Vec<_>>(), found);
    let checked = Checked {
        declared,
        defaults,
        policies,
        windows,
    };
    checked.as_a_whole(parsed, found);
    checked
}

impl Checked<'_, '_> {
    /// Returns the regions that open windows drain.
    fn drained(&self, open: OpenWindows) -> RegionMask {
        let windows = self
            .windows
            .iter()
            .enumerate()
            .filter(|(at, _)| open.has(*at));
        let drained = windows.filter_map(|(_, window)| match window.effect {
            Some(DraftEffect::Drain(regions, _)) => Some(regions),
            Some(DraftEffect::Replace(_)) | None => None,
        });
        drained.fold(RegionMask::EMPTY, RegionMask::or)
    }

    /// Reports errors that only the file as a whole shows.
    fn as_a_whole(&self, parsed: &Parsed<'_>, found: &mut Diagnostics) {
        if self.policies.is_empty() && parsed.whole {
            let end = parsed
                .tokens
                .tokens
                .last()
                .map_or(0, |token| token.span.end);
            let right = "write `policy everything { prefer us-east-1 }`";
            let title =
                "a policy file needs at least one policy, and the last must match every request";
            found.push(Diagnostic::error(Span::new(end, end), title).help(right));
        }
        let windows = self.windows.iter();
        let mut periods: Vec<_> = windows.map(|window| window.periods.as_slice()).collect();
        if periods.iter().map(|all| all.len()).sum::<usize>() > PERIODS_MAX {
            periods.clear();
        }
        let together: Vec<_> = open_together(&periods)
            .into_iter()
            .map(|(open, at_ms)| Together {
                open,
                at_ms,
                drained: self.drained(open),
            })
            .collect();
        let rules = Rules {
            declared: &self.declared,
            defaults: &self.defaults,
            policies: &self.policies,
            windows: &self.windows,
            together: &together,
        };
        let complete = parsed.whole && self.policies.len() < POLICIES_MAX;
        reach(&self.policies, complete, found);
        rules.check(found);
        survive(&rules, found);
    }
}

/// Returns blocks up to a number, and reports those beyond it and duplicate names.
fn named<'t, 's: 't>(
    blocks: impl Iterator<Item = &'t Block<'s>>,
    most: usize,
    one: &str,
    several: &str,
    found: &mut Diagnostics,
) -> Vec<&'t Block<'s>> {
    let mut names = HashSet::new();
    let mut kept = Vec::new();
    for (index, block) in blocks.enumerate() {
        if index == most {
            let title = format!("a file can have at most {most} {several}");
            found.push(Diagnostic::error(block.keyword.span, title));
        }
        if index >= most {
            continue;
        }
        if !names.insert(block.name.text) {
            found.push(taken(block.name, one));
        }
        kept.push(block);
    }
    kept
}

/// Reports the first period beyond the limit of a file.
fn most_periods(windows: &[&Block<'_>], found: &mut Diagnostics) {
    let clauses = windows.iter().flat_map(|block| &block.clauses);
    let mut periods =
        clauses.filter(|clause| matches!(clause.body, Body::Every { .. } | Body::From(..)));
    if let Some(further) = periods.nth(PERIODS_MAX) {
        let title = format!("a file can have at most {PERIODS_MAX} periods");
        found.push(Diagnostic::error(further.keyword.span, title));
    }
}

fn taken(word: Word<'_>, what: &str) -> Diagnostic {
    let title = format!("another {what} is already named {}", Quoted(word.text));
    Diagnostic::error(word.span, title).help("choose another name")
}
