//! Histories by hand: the judge accepts the good ones and rejects a broken one for each guarantee.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_model::{Level, Lsn, SystemId, Timeline, TokenKeys, WalPosition};

use super::{Guarantee, judge};
use crate::consistency::history::{
    Action, Answer, History, Operation, Outcome, Promotion, Token, Value, Version,
};
use crate::world::TOKEN_SECRET;

const A: usize = 0;
const B: usize = 1;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An operation from `start` to `end` in milliseconds that shows a value as a version.
fn answered(
    key: usize,
    action: Action,
    start: u64,
    end: u64,
    shown: (Value, Version),
) -> Operation {
    let level = match action {
        Action::Write(_) => Level::Strong,
        Action::Read(level, _) => level,
    };
    let answer = Answer {
        value: shown.0,
        version: shown.1,
        token: None,
        level,
        primary: matches!(action, Action::Write(_) | Action::Read(Level::Strong, _)),
        staleness: None,
        status: String::new(),
    };
    Operation {
        client: 0,
        gateway: 0,
        key,
        action,
        token: None,
        invoked: ms(start),
        completed: ms(end),
        outcome: Outcome::Answered(answer),
    }
}

fn write(key: usize, start: u64, end: u64, shown: (Value, Version)) -> Operation {
    answered(key, Action::Write(shown.0), start, end, shown)
}

fn read(key: usize, level: Level, start: u64, end: u64, shown: (Value, Version)) -> Operation {
    answered(key, Action::Read(level, None), start, end, shown)
}

impl Operation {
    fn with(mut self, token: &str) -> Self {
        self.token = Some(token_of(token));
        self
    }

    fn gives(mut self, token: &str) -> Self {
        if let Outcome::Answered(answer) = &mut self.outcome {
            answer.token = Some(token_of(token));
        }
        self
    }

    fn says(mut self, status: &str) -> Self {
        if let Outcome::Answered(answer) = &mut self.outcome {
            answer.status = status.to_owned();
        }
        self
    }

    fn claims(mut self, staleness: Duration) -> Self {
        if let Outcome::Answered(answer) = &mut self.outcome {
            answer.staleness = Some(staleness);
        }
        self
    }

    fn answered_at(mut self, level: Level) -> Self {
        if let Outcome::Answered(answer) = &mut self.outcome {
            answer.level = level;
        }
        self
    }

    fn within(mut self, bound: Duration) -> Self {
        self.action = Action::Read(Level::Bounded, Some(bound));
        self
    }

    fn ends(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }
}

/// A real token for a name: `2@300` is on timeline 2 at 300, any other on the first below all such.
fn token_of(name: &str) -> Token {
    let explicit = name.split_once('@');
    let place = explicit.map(|(timeline, lsn)| (timeline.parse().unwrap(), lsn.parse().unwrap()));
    let (timeline, lsn) = place.unwrap_or_else(|| (1, name.bytes().map(u64::from).sum()));
    let position = WalPosition {
        system: SystemId(1),
        timeline: Timeline(timeline),
        lsn: Lsn(lsn),
    };
    let keys = TokenKeys::parse(TOKEN_SECRET).unwrap();
    keys.sign(&position).into()
}

impl History {
    /// One in which everything that any client was shown was kept.
    fn of(operations: &[Operation]) -> Self {
        let mut history = Self {
            operations: operations.to_vec(),
            ledger: HashMap::new(),
            promotion: None,
        };
        for answer in operations.iter().filter_map(Operation::answer) {
            let versions = history.ledger.entry(answer.value).or_default();
            if !versions.contains(&answer.version) {
                versions.push(answer.version);
            }
        }
        history
    }

    fn without(mut self, value: Value) -> Self {
        self.ledger.remove(&value);
        self
    }

    /// Timeline 2 began at 100 ms, after position 10,000 of the first.
    fn promoted(mut self, may_lose: bool) -> Self {
        self.promotion = Some(Promotion {
            at: ms(100),
            timeline: Timeline(2),
            switch: Lsn(10_000),
            may_lose,
        });
        self
    }

    fn broken(&self) -> Vec<Guarantee> {
        let violations = judge(self).violations;
        let mut broken: Vec<_> = violations.iter().map(|it| it.guarantee).collect();
        broken.sort_unstable();
        broken.dedup();
        broken
    }
}

fn broken(operations: &[Operation]) -> Vec<Guarantee> {
    History::of(operations).broken()
}

mod levels;
mod promotion;
