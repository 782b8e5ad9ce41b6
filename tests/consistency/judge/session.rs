//! Session: a token is a floor. It stands for what its session had written and read, and for what
//! the writers of that had seen; an answer to a request with a token shows no less.
//!
//! Tokens are followed rather than clients, because a token may be passed to any client.
//!
//! One limit is known, and counted rather than condemned: a replica may show a commit an instant
//! before the primary does. Until such a write is acknowledged the primary may still lack it.

use std::collections::{BTreeMap, HashMap};

use super::age::Acknowledged;
use super::fate::Fate;
use super::{Guarantee, Violation};
use crate::consistency::history::{Action, Answer, Operation, Token, Value, Version};

/// Why a floor contains a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Wrote,
    Read,
    /// The writer of something that the session read had seen it.
    Followed,
}

/// The least version of each key.
#[derive(Clone, Default)]
struct Floor {
    versions: BTreeMap<usize, (Version, Origin)>,
    /// Something that was seen and that a promotion lost.
    lost: Option<Value>,
}

impl Floor {
    fn raise(&mut self, key: usize, version: Version, origin: Origin) {
        let known = self.versions.entry(key).or_insert((version, origin));
        if version > known.0 {
            *known = (version, origin);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (key, (version, origin)) in &other.versions {
            self.raise(*key, *version, *origin);
        }
        self.lost = self.lost.or(other.lost);
    }

    fn followed(mut self) -> Self {
        for (_, origin) in self.versions.values_mut() {
            *origin = Origin::Followed;
        }
        self
    }
}

struct Sessions<'a> {
    fate: &'a Fate<'a>,
    acknowledged: Acknowledged,
    early_sights: usize,
    floors: HashMap<Token, Floor>,
    /// The token that each value was written with.
    writers: HashMap<Value, &'a Token>,
}

/// Returns also how many answers of the primary lacked what a replica had shown before.
pub(super) fn judge(fate: &Fate<'_>) -> (Vec<Violation>, usize) {
    let operations = &fate.history.operations;
    let mut sessions = Sessions {
        fate,
        acknowledged: Acknowledged::of(operations, |answer| !fate.is_lost(answer.value)),
        early_sights: 0,
        floors: HashMap::new(),
        writers: HashMap::new(),
    };
    for operation in operations {
        let disowned = operation.answer().is_some_and(Answer::disowns_the_token);
        if let (Some(value), Some(token), false) = (operation.written(), &operation.token, disowned)
        {
            sessions.writers.insert(value, token);
        }
    }
    // A token is used only after the operation that gave it was answered.
    let mut in_order: Vec<_> = operations.iter().collect();
    in_order.sort_by_key(|operation| operation.completed);
    let broken = |operation: &&Operation| sessions.follow(operation);
    let violations = in_order.iter().flat_map(broken).collect();
    (violations, sessions.early_sights)
}

impl Sessions<'_> {
    fn follow(&mut self, operation: &Operation) -> Vec<Violation> {
        let Some(answer) = operation.answer() else {
            return Vec::new();
        };
        let token = operation.token.as_ref();
        // An answer that states this starts a new session.
        let floor = self.floor(token.filter(|_| !answer.disowns_the_token()));
        let below = self.below(&floor, operation, answer);
        let untold = self.untold(&floor, operation, answer);
        if let Some(token) = &answer.token {
            let seen = self.seen(floor, operation, answer);
            self.floors
                .entry(token.clone())
                .or_default()
                .raise_to(&seen);
        }
        below.into_iter().chain(untold).collect()
    }

    fn floor(&self, token: Option<&Token>) -> Floor {
        let known = token.and_then(|token| self.floors.get(token));
        known.cloned().unwrap_or_default()
    }

    /// A floor and what an answer adds to it.
    fn seen(&self, mut floor: Floor, operation: &Operation, answer: &Answer) -> Floor {
        if self.fate.is_lost(answer.value) {
            floor.lost = Some(answer.value);
        }
        match operation.action {
            Action::Write(_) => floor.raise(operation.key, answer.version, Origin::Wrote),
            Action::Read(..) => {
                floor.raise(operation.key, answer.version, Origin::Read);
                let writer = self.writers.get(&answer.value).copied();
                floor.raise_to(&self.floor(writer).followed());
            }
        }
        floor
    }

    fn below(
        &mut self,
        floor: &Floor,
        operation: &Operation,
        answer: &Answer,
    ) -> Option<Violation> {
        let &(version, origin) = floor.versions.get(&operation.key)?;
        let guarantee = match (operation.action, origin) {
            (Action::Read(..), Origin::Wrote) => Guarantee::ReadYourWrites,
            (Action::Read(..), Origin::Read) => Guarantee::MonotonicReads,
            (Action::Write(_), Origin::Wrote) => Guarantee::MonotonicWrites,
            (_, Origin::Followed) | (Action::Write(_), Origin::Read) => {
                Guarantee::WritesFollowReads
            }
        };
        // A client that has seen what is lost counts its versions; for others it counts as what it
        // was built on.
        let stands_for = match floor.lost {
            Some(_) => answer.version,
            None => self.fate.kept_version(operation.key, answer),
        };
        let holds = match operation.action {
            Action::Write(_) if stands_for == answer.version => stands_for > version,
            Action::Write(_) | Action::Read(..) => stands_for >= version,
        };
        let is_early = matches!(operation.action, Action::Read(..))
            && origin != Origin::Wrote
            && answer.primary
            && self.acknowledged.before(operation.key, operation.invoked) <= stands_for;
        if !holds && is_early {
            self.early_sights += 1;
            return None;
        }
        let why = format!("its token stands for version {version}");
        (!holds).then(|| Violation::of(guarantee, operation, &why))
    }

    fn untold(&self, floor: &Floor, operation: &Operation, answer: &Answer) -> Option<Violation> {
        let lost = floor.lost.filter(|_| self.fate.is_after_loss(answer))?;
        let why = format!("its token stands for value {lost}, which is lost");
        Some(Violation::of(Guarantee::LossTold, operation, &why))
    }
}
