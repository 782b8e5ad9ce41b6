//! The clauses shared by `defaults`, policies and windows.

use std::collections::HashSet;

use crate::check::conditions::kept;
use crate::check::draft::{ClauseKind, DraftClauses};
use crate::check::values::{
    Value, duration, number, percent, quantity, quantity_value, refused, status,
};
use crate::plan::{Else, Join, Leave, Measure, Measures, Retry, Return};
use crate::syntax::ast::{self, Body, Clause, Word};
use crate::syntax::{Diagnostic, Diagnostics, Quoted};

/// Largest number of regions in `require survive`.
const SURVIVED_MAX: u32 = 3;

impl ClauseKind {
    /// Returns which of the common clauses this is.
    fn of(body: &Body<'_>) -> Option<Self> {
        Some(match body {
            Body::Leave { .. } => Self::Leave,
            Body::Return { .. } => Self::Return,
            Body::Retry(_) => Self::Retry,
            Body::Panic(_) => Self::Panic,
            Body::Else(_) => Self::Else,
            Body::Require(_) => Self::Require,
            Body::Match(_)
            | Body::Only(_)
            | Body::Prefer(_)
            | Body::Affinity(_)
            | Body::Every { .. }
            | Body::From(..)
            | Body::Drain(_)
            | Body::GivenClause(_)
            | Body::Expect(_) => return None,
        })
    }
}

impl<'t, 's> DraftClauses<'t, 's> {
    /// Reads a clause if it is a common one.
    pub(crate) fn add(&mut self, clause: &'t Clause<'s>, found: &mut Diagnostics) -> bool {
        let Some(kind) = ClauseKind::of(&clause.body) else {
            return false;
        };
        if self.written.contains_key(&kind) {
            found.push(repeated(clause.keyword));
            return true;
        }
        self.written.insert(kind, clause);
        match &clause.body {
            Body::Leave { measures, hold } => {
                let (when, hold) = (read_measures(measures, found), kept(duration(*hold), found));
                self.clauses.leave = when.zip(hold).map(|(when, hold)| Leave { when, hold });
            }
            Body::Return {
                measures,
                hold,
                ramp,
            } => self.clauses.comeback = comeback(measures, *hold, *ramp, found),
            Body::Retry(None) => self.clauses.retry = Some(Retry::Never),
            Body::Retry(Some((regions, budget))) => {
                let (regions, budget) =
                    (kept(number(*regions), found), kept(percent(*budget), found));
                let retry = regions.zip(budget);
                self.clauses.retry =
                    retry.map(|(regions, budget)| Retry::Idempotent { regions, budget });
            }
            Body::Panic(below) => self.clauses.panic_below = kept(percent(*below), found),
            Body::Else(what) if what.text == "local" => self.clauses.otherwise = Some(Else::Local),
            Body::Else(what) => {
                self.clauses.otherwise = kept(status(*what), found).map(Else::Status);
            }
            Body::Require(survive) => self.require = kept(survived(*survive), found),
            _ => {}
        }
        true
    }
}

fn comeback(
    measures: &ast::Measures<'_>,
    hold: Word<'_>,
    ramp: Option<Word<'_>>,
    found: &mut Diagnostics,
) -> Option<Return> {
    let when = read_measures(measures, found);
    let hold = kept(duration(hold), found);
    let ramp = match ramp {
        None => Some(std::time::Duration::ZERO),
        Some(ramp) => kept(duration(ramp), found),
    };
    Some(Return {
        when: when?,
        hold: hold?,
        ramp: ramp?,
    })
}

fn survived(word: Word<'_>) -> Value<u32> {
    match number(word) {
        Ok(survived @ 1..=SURVIVED_MAX) => Ok(survived),
        _ => refused(word, "a number of regions to lose", "write `1`, `2` or `3`"),
    }
}

fn read_measures(measures: &ast::Measures<'_>, found: &mut Diagnostics) -> Option<Measures> {
    let mut seen = HashSet::new();
    let mut read = Some(Vec::new());
    for measure in &measures.measures {
        if !seen.insert(measure.quantity.text) {
            let title = format!("{} is compared twice", Quoted(measure.quantity.text));
            found.push(Diagnostic::error(measure.quantity.span, title).help("remove one of them"));
            continue;
        }
        let quantity = kept(quantity(measure.quantity), found);
        let bound =
            quantity.and_then(|quantity| kept(quantity_value(quantity, measure.value), found));
        let one = quantity
            .zip(bound)
            .map(|(quantity, bound)| Measure { quantity, bound });
        read = read.zip(one).map(|(mut read, one)| {
            read.push(one);
            read
        });
    }
    let join = if measures.all { Join::And } else { Join::Or };
    read.map(|measures| Measures::new(join, measures))
}

/// Reports a duplicate clause.
pub(crate) fn repeated(keyword: Word<'_>) -> Diagnostic {
    let title = format!("this block has {} twice", Quoted(keyword.text));
    Diagnostic::error(keyword.span, title).help("remove one of them: a clause can be given once")
}
