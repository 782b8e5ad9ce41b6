//! Session: a token is a floor. What it stands for is what its session had written and read, and
//! whatever those who wrote that had seen; an answer to a request with a token shows no less.
//!
//! Tokens and not clients are followed, since a token may be handed to anybody.

use std::collections::{BTreeMap, HashMap};

use super::{Guarantee, Violation};
use crate::consistency::history::{Action, Answer, Operation, Token, Value, Version};

/// How a floor came to hold a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Wrote,
    Read,
    /// The writer of something the session read had seen it.
    Followed,
}

/// The least version of each key.
#[derive(Clone, Default)]
struct Floor(BTreeMap<usize, (Version, Origin)>);

impl Floor {
    fn raise(&mut self, key: usize, version: Version, origin: Origin) {
        let known = self.0.entry(key).or_insert((version, origin));
        if version > known.0 {
            *known = (version, origin);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (key, (version, origin)) in &other.0 {
            self.raise(*key, *version, *origin);
        }
    }

    fn followed(mut self) -> Self {
        for (_, origin) in self.0.values_mut() {
            *origin = Origin::Followed;
        }
        self
    }
}

#[derive(Default)]
struct Sessions<'a> {
    floors: HashMap<Token, Floor>,
    /// The token that each value was written with.
    writers: HashMap<Value, &'a Token>,
}

pub(super) fn judge(history: &[Operation]) -> Vec<Violation> {
    let mut sessions = Sessions::default();
    for operation in history {
        if let (Some(value), Some(token)) = (operation.written(), &operation.token) {
            sessions.writers.insert(value, token);
        }
    }
    // A token is used only after the operation that gave it was answered.
    let mut in_order: Vec<_> = history.iter().collect();
    in_order.sort_by_key(|operation| operation.completed);
    let broken = |operation: &&Operation| sessions.follow(operation);
    in_order.iter().filter_map(broken).collect()
}

impl Sessions<'_> {
    fn follow(&mut self, operation: &Operation) -> Option<Violation> {
        let answer = operation.answer()?;
        let floor = self.floor(operation.token.as_ref());
        let violation = below(&floor, operation, answer);
        if let Some(token) = &answer.token {
            let seen = self.seen(floor, operation, answer);
            self.floors
                .entry(token.clone())
                .or_default()
                .raise_to(&seen);
        }
        violation
    }

    fn floor(&self, token: Option<&Token>) -> Floor {
        let known = token.and_then(|token| self.floors.get(token));
        known.cloned().unwrap_or_default()
    }

    /// A floor and what an answer adds to it.
    fn seen(&self, mut floor: Floor, operation: &Operation, answer: &Answer) -> Floor {
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
}

fn below(floor: &Floor, operation: &Operation, answer: &Answer) -> Option<Violation> {
    let &(version, origin) = floor.0.get(&operation.key)?;
    let guarantee = match (operation.action, origin) {
        (Action::Read(..), Origin::Wrote) => Guarantee::ReadYourWrites,
        (Action::Read(..), Origin::Read) => Guarantee::MonotonicReads,
        (Action::Write(_), Origin::Wrote) => Guarantee::MonotonicWrites,
        (_, Origin::Followed) | (Action::Write(_), Origin::Read) => Guarantee::WritesFollowReads,
    };
    let holds = match operation.action {
        Action::Read(..) => answer.version >= version,
        Action::Write(_) => answer.version > version,
    };
    let why = format!("its token stands for version {version}");
    (!holds).then(|| Violation::of(guarantee, operation, &why))
}
