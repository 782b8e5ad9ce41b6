//! Rules about clauses of several blocks, for any windows that can be open at the same time.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use crate::check::draft::{ClauseKind, DraftClauses, DraftEffect, DraftPolicy, DraftWindow, Only};
use crate::check::names::Declared;
use crate::plan::{Else, Leave, OpenWindows, RegionIndex, RegionMask, Return};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Span};

/// The parts of a file that were understood, and the windows that can be open at the same time.
pub(crate) struct Rules<'a, 't, 's> {
    pub(crate) declared: &'a Declared<'s>,
    pub(crate) defaults: &'a DraftClauses<'t, 's>,
    pub(crate) policies: &'a [DraftPolicy<'t, 's>],
    pub(crate) windows: &'a [DraftWindow<'t, 's>],
    pub(crate) together: &'a [Together],
}

/// Windows that are open at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Together {
    pub(crate) open: OpenWindows,
    /// One such time; none for the empty set of windows.
    pub(crate) at_ms: Option<i64>,
    /// The regions that they drain.
    pub(crate) drained: RegionMask,
}

/// The block that a clause is taken from: a window's overrides a policy's, which overrides the
/// default.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Defaults,
    Policy,
    Window(usize),
}

impl<'t, 's> Rules<'_, 't, 's> {
    /// Reports violations of the rules.
    pub(crate) fn check(&self, found: &mut Diagnostics) {
        self.one_clause_at_a_time(found);
        self.some_region_is_undrained(found);
        self.returns_are_stricter(found);
        self.else_stays_within_only(found);
        self.leaving_has_a_return(found);
    }

    /// Two windows that overlap and replace the same clause.
    fn one_clause_at_a_time(&self, found: &mut Diagnostics) {
        for kind in ClauseKind::ALL {
            let replacing = self.replacing_kind(kind);
            // By window: the earlier ones that it overlaps.
            let mut met = vec![0_u64; self.windows.len()];
            for together in self.together {
                let open = together.open.0 & replacing;
                for second in ones(open) {
                    let new = open & below(second) & !met[second];
                    met[second] |= new;
                    for first in ones(new) {
                        self.both_replace(kind, first, second, together.at_ms, found);
                    }
                }
            }
        }
    }

    fn both_replace(
        &self,
        kind: ClauseKind,
        first: usize,
        second: usize,
        at_ms: Option<i64>,
        found: &mut Diagnostics,
    ) {
        let [one, other] = [first, second].map(|window| &self.windows[window]);
        let Some(DraftEffect::Replace(clauses)) = &other.effect else {
            return;
        };
        let title = format!(
            "windows {} and {} overlap and both replace `{}`",
            Quoted(one.name.text),
            Quoted(other.name.text),
            kind.as_str()
        );
        let span = clauses.span(kind).unwrap_or(other.name.span);
        let error = Diagnostic::error(span, title);
        let right = "give them periods that do not overlap, or merge them";
        found.push(noted(error.help(right), at_ms));
    }

    /// Returns the windows that replace a clause, as bits.
    fn replacing_kind(&self, kind: ClauseKind) -> u64 {
        let windows = self.windows.iter().enumerate();
        let replacing = windows.filter(|(_, window)| match &window.effect {
            Some(DraftEffect::Replace(clauses)) => clauses.written.contains_key(&kind),
            Some(DraftEffect::Drain(..)) | None => false,
        });
        replacing.fold(0, |set, (at, _)| set | 1 << at)
    }

    /// Windows that would drain every region of a policy.
    fn some_region_is_undrained(&self, found: &mut Diagnostics) {
        for policy in self.policies {
            let mut seen = HashSet::new();
            let Some(named) = policy.named(None) else {
                continue;
            };
            for together in self.together.iter().filter(|one| !one.drained.is_empty()) {
                let Some(entry) = self.all_drained(policy, named, together.drained) else {
                    continue;
                };
                let last = self.last_drain(together.open);
                let Some((last, span)) = last.filter(|(last, _)| seen.insert(*last)) else {
                    continue;
                };
                let entry = entry.map(|entry| {
                    format!(" for requests that enter in {}", self.declared.name(entry))
                });
                let others = together.open.0.count_ones() > 1;
                let with = if others {
                    ", together with others that are open then,"
                } else {
                    ""
                };
                let title = format!(
                    "window {}{with} drains every region of policy {}{}",
                    Quoted(self.windows[last].name.text),
                    Quoted(policy.name.text),
                    entry.unwrap_or_default()
                );
                let error = Diagnostic::error(span, title);
                found.push(noted(
                    error.help("leave a region of each policy undrained"),
                    together.at_ms,
                ));
            }
        }
    }

    /// Returns whether all regions of a policy are drained, and for which entry if it matters.
    pub(crate) fn all_drained(
        &self,
        policy: &DraftPolicy<'_, '_>,
        named: RegionMask,
        drained: RegionMask,
    ) -> Option<Option<RegionIndex>> {
        if !named.without(drained).is_empty() {
            return None;
        }
        if !policy.has_local() {
            return (!named.is_empty()).then_some(None);
        }
        let mut entries = drained.and(policy.allowed(self.declared.all())).iter();
        entries.next().map(Some)
    }

    /// A `return` that is not stricter than a `leave` with which it can be in force.
    fn returns_are_stricter(&self, found: &mut Diagnostics) {
        let mut seen = HashSet::new();
        for pair in self.window_pairs() {
            for policy in self.policies {
                let leave = self.taken(policy, ClauseKind::Leave, pair.0);
                let comeback = self.taken(policy, ClauseKind::Return, pair.1);
                let (Some((leave_from, leave)), Some((return_from, comeback))) = (leave, comeback)
                else {
                    continue;
                };
                let blamed = match leave_from > return_from {
                    true => (ClauseKind::Leave, leave),
                    false => (ClauseKind::Return, comeback),
                };
                let (Some(leaves), Some(returns)) =
                    (&leave.clauses.leave, &comeback.clauses.comeback)
                else {
                    continue;
                };
                for quantity in not_stricter(leaves, returns) {
                    let measure = blamed.1.measure(blamed.0, quantity);
                    let Some(measure) =
                        measure.filter(|one| seen.insert((one.value.span, quantity)))
                    else {
                        continue;
                    };
                    found.push(not_stricter_error(
                        measure.value.span,
                        quantity,
                        leave,
                        comeback,
                    ));
                }
            }
        }
    }

    /// `else local` if `only` excludes a region that could be the gateway's own.
    fn else_stays_within_only(&self, found: &mut Diagnostics) {
        let windows: Vec<_> = ones(self.replacing_kind(ClauseKind::Else))
            .map(Some)
            .chain([None])
            .collect();
        for policy in self.policies {
            let Only::These(only, only_span) = policy.only else {
                continue;
            };
            let outside = self.declared.all().without(only);
            for window in windows.iter().filter(|_| !outside.is_empty()) {
                let Some((from, clauses)) = self.taken(policy, ClauseKind::Else, *window) else {
                    continue;
                };
                if clauses.clauses.otherwise != Some(Else::Local) {
                    continue;
                }
                let span = match from {
                    From::Policy => clauses.span(ClauseKind::Else).unwrap_or(only_span),
                    From::Defaults | From::Window(_) => only_span,
                };
                let whose = match from {
                    From::Policy => "`else local`".to_owned(),
                    From::Defaults => "the `else local` of `defaults`".to_owned(),
                    From::Window(at) => format!(
                        "the `else local` of window {}",
                        Quoted(self.windows[at].name.text)
                    ),
                };
                let name = Quoted(policy.name.text);
                let title = format!("{whose} can serve outside the `only` of policy {name}");
                let right = "write `else 503` in this policy, or name all regions in `only`";
                let note = format!("a request may enter in {}", self.declared.names_of(outside));
                found.push(Diagnostic::error(span, title).note(note).help(right));
                break;
            }
        }
    }

    /// A `leave` without any `return`: the region comes back as soon as the bound is no longer
    /// exceeded.
    fn leaving_has_a_return(&self, found: &mut Diagnostics) {
        let mut seen = HashSet::new();
        for policy in self.policies {
            let Some((_, leave)) = self.taken(policy, ClauseKind::Leave, None) else {
                continue;
            };
            let unknown = policy.clauses.broken || self.defaults.broken;
            if unknown || self.taken(policy, ClauseKind::Return, None).is_some() {
                continue;
            }
            let Some(span) = leave
                .span(ClauseKind::Leave)
                .filter(|span| seen.insert(*span))
            else {
                continue;
            };
            let title = "no clause defines when a region that has left returns";
            let right = "add `return when errors < 0.5% for 60s ramp 5m`";
            let note = "without it, it returns when `leave` has not held for as long";
            found.push(Diagnostic::warning(span, title).note(note).help(right));
        }
    }

    /// Returns where a policy's clause comes from while a window that replaces it, or none, is
    /// open.
    ///
    /// Also `None` if a clause may be present that was not understood.
    fn taken<'a>(
        &'a self,
        policy: &'a DraftPolicy<'t, 's>,
        kind: ClauseKind,
        window: Option<usize>,
    ) -> Option<(From, &'a DraftClauses<'t, 's>)> {
        if let Some(window) = window {
            return match self.windows[window].effect.as_ref()? {
                DraftEffect::Replace(clauses) => Some((From::Window(window), clauses)),
                DraftEffect::Drain(..) => None,
            };
        }
        if policy.clauses.written.contains_key(&kind) {
            return Some((From::Policy, &policy.clauses));
        }
        let known = !policy.clauses.broken && self.defaults.written.contains_key(&kind);
        known.then_some((From::Defaults, self.defaults))
    }

    /// Returns which windows replace `leave` and `return` at the same time, or only one of them.
    fn window_pairs(&self) -> BTreeSet<(Option<usize>, Option<usize>)> {
        let [leaving, returning] =
            [ClauseKind::Leave, ClauseKind::Return].map(|kind| self.replacing_kind(kind));
        let first = |open: u64| ones(open).next();
        let pair = |open: OpenWindows| (first(open.0 & leaving), first(open.0 & returning));
        self.together.iter().map(|one| pair(one.open)).collect()
    }

    fn last_drain(&self, open: OpenWindows) -> Option<(usize, Span)> {
        let drains = ones(open.0).filter_map(|at| match self.windows[at].effect {
            Some(DraftEffect::Drain(_, span)) => Some((at, span)),
            Some(DraftEffect::Replace(_)) | None => None,
        });
        drains.last()
    }
}

/// Returns the indices of the bits that are set in a word.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

/// Returns the bits below one.
fn below(bit: usize) -> u64 {
    (1 << bit) - 1
}

/// Returns the quantities of both clauses whose bound of `return` is not below that of `leave`.
fn not_stricter(leave: &Leave, comeback: &Return) -> Vec<&'static str> {
    let both = leave.when.iter().flat_map(|high| {
        let same = comeback
            .when
            .iter()
            .filter(move |low| low.quantity == high.quantity);
        same.map(move |low| (high, low))
    });
    let wrong = both.filter(|(high, low)| low.bound >= high.bound);
    wrong.map(|(high, _)| high.quantity.as_str()).collect()
}

fn not_stricter_error(
    span: Span,
    quantity: &str,
    leave: &DraftClauses<'_, '_>,
    comeback: &DraftClauses<'_, '_>,
) -> Diagnostic {
    let value = |clauses: &DraftClauses<'_, '_>, kind| {
        let measure = clauses.measure(kind, quantity);
        measure.map_or("?", |measure| measure.value.text).to_owned()
    };
    let high = value(leave, ClauseKind::Leave);
    let low = value(comeback, ClauseKind::Return);
    let title = format!(
        "`return` is not stricter than `leave`: `{quantity} < {low}` and `{quantity} > {high}`"
    );
    Diagnostic::error(span, title).help(format!(
        "a region must be better to return than it is when it leaves: \
         `return when {quantity} <` less than {high}"
    ))
}

/// Adds when it applies.
fn noted(error: Diagnostic, at: Option<i64>) -> Diagnostic {
    match at.and_then(|at| Timestamp::from_millisecond(at).ok()) {
        Some(at) => error.note(format!("for example at {at}")),
        None => error,
    }
}
