//! What a promotion lost, and what must not have been lost.
//!
//! The ledger at a round's end shows which writes exist. A write that a client was shown and the
//! ledger lacks is gone: lost if the promoted replica may have lacked it, else a broken promise.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tidegate_model::WalPosition;

use super::{Guarantee, Violation};
use crate::consistency::history::{
    Action, Answer, History, Operation, Outcome, Promotion, Value, Version, position,
};

/// A history in the light of its end.
pub(super) struct Fate<'a> {
    pub(super) history: &'a History,
    /// The promotion, if it may have lost something.
    lossy: Option<Promotion>,
    lost: HashSet<Value>,
    /// The least version of each key that is known to be lost.
    forks: HashMap<usize, Version>,
}

impl<'a> Fate<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut fate = Self {
            history,
            lossy: history.promotion.filter(|promotion| promotion.may_lose),
            lost: HashSet::new(),
            forks: HashMap::new(),
        };
        for (operation, answer) in answered(history) {
            if fate.lossy.is_some() && is_gone(history, answer) {
                fate.lost.insert(answer.value);
                let fork = fate.forks.entry(operation.key).or_insert(answer.version);
                *fork = answer.version.min(*fork);
            }
        }
        fate
    }

    /// Whether a promotion lost the write of a value.
    pub(super) fn is_lost(&self, value: Value) -> bool {
        self.lost.contains(&value)
    }

    /// How many writes were lost that a client had been shown.
    pub(super) fn losses(&self) -> usize {
        self.lost.len()
    }

    /// The version that an answer shows of what was not lost. One that is lost was built on the
    /// version before the first lost one.
    pub(super) fn kept_version(&self, key: usize, answer: &Answer) -> Version {
        match self.is_lost(answer.value) {
            true => self.forks[&key] - 1,
            false => answer.version,
        }
    }

    /// Whether an answer was given on the timeline that a promotion began.
    pub(super) fn is_after_loss(&self, answer: &Answer) -> bool {
        let timelines = self.lossy.zip(answer.timeline());
        timelines.is_some_and(|(promotion, timeline)| timeline >= promotion.timeline)
    }

    /// Whether an answer was given on the timeline that lost something.
    pub(super) fn is_before_loss(&self, answer: &Answer) -> bool {
        self.lossy.is_some() && answer.timeline().is_some() && !self.is_after_loss(answer)
    }

    /// Whether a moment lies before anything could be lost.
    pub(super) fn precedes_loss(&self, moment: Duration) -> bool {
        self.lossy.is_none_or(|promotion| moment < promotion.at)
    }
}

pub(super) fn judge(fate: &Fate<'_>) -> Vec<Violation> {
    let history = fate.history;
    let operations = || history.operations.iter();
    let told = operations().filter_map(|it| told_in_vain(history, it));
    let doubted = operations().filter_map(|it| doubted_in_vain(history, it));
    let gone = answered(history).filter_map(|(operation, answer)| gone(fate, operation, answer));
    told.chain(doubted).chain(gone).collect()
}

fn answered(history: &History) -> impl Iterator<Item = (&Operation, &Answer)> {
    let operations = history.operations.iter();
    operations.filter_map(|operation| Some((operation, operation.answer()?)))
}

/// Whether an answer shows a write of which there is no trace at the end.
fn is_gone(history: &History, answer: &Answer) -> bool {
    answer.version > 0 && !history.ledger.contains_key(&answer.value)
}

/// Whether a position is part of the history after the promotion. A position just behind a page
/// header counts as the page's start.
fn survives(promotion: &Promotion, position: &WalPosition) -> bool {
    let is_before = position.lsn.reachable_by_replay() <= promotion.switch;
    position.timeline >= promotion.timeline || is_before
}

fn told_in_vain(history: &History, operation: &Operation) -> Option<Violation> {
    let (Outcome::Lost, token) = (&operation.outcome, operation.token.as_ref()) else {
        return None;
    };
    let why = match (token, &history.promotion) {
        (None, _) => "it had no token".to_owned(),
        (_, None) => "there was no promotion".to_owned(),
        (Some(token), Some(promotion)) => {
            let position = position(token);
            if !survives(promotion, &position) {
                return None;
            }
            format!("{position} is part of what survived: {promotion:?}")
        }
    };
    Some(Violation::of(Guarantee::LossReal, operation, &why))
}

/// A token of a round is doubted only if it is of the timeline before, whose end may be unknown.
fn doubted_in_vain(history: &History, operation: &Operation) -> Option<Violation> {
    operation.answer().filter(|it| it.disowns_the_token())?;
    let timeline = operation.token.as_ref().map(|it| position(it).timeline);
    let begun = history.promotion.map(|promotion| promotion.timeline);
    let may_be_unknown = timeline
        .zip(begun)
        .is_some_and(|(token, begun)| token < begun);
    let why = "there was no reason to doubt its token";
    (!may_be_unknown).then(|| Violation::of(Guarantee::LossReal, operation, why))
}

fn gone(fate: &Fate<'_>, operation: &Operation, answer: &Answer) -> Option<Violation> {
    if !is_gone(fate.history, answer) {
        return None;
    }
    let Some(promotion) = &fate.lossy else {
        let why = "nothing of it is left";
        return Some(Violation::of(Guarantee::Durable, operation, why));
    };
    // What is lost lies above the switch point, and so must the token of every client that was
    // shown it.
    let token = position(answer.token.as_ref()?);
    let why = format!("it is lost, and {token} is not: {promotion:?}");
    let covers = !survives(promotion, &token);
    (!covers).then(|| Violation::of(Guarantee::TokenCovers, operation, &why))
}

/// Whether a write that was reported to have no effect had one.
pub(super) fn refused_and_written(history: &History) -> impl Iterator<Item = Violation> {
    let refused = |operation: &&Operation| {
        let Action::Write(value) = operation.action else {
            return false;
        };
        let refused = matches!(operation.outcome, Outcome::Refused | Outcome::Lost);
        refused && history.ledger.contains_key(&value)
    };
    let told = "it was refused and took effect";
    let operations = history.operations.iter().filter(refused);
    operations.map(move |operation| Violation::of(Guarantee::WrittenValues, operation, told))
}
