//! What was recorded: each operation with its times, its outcome and the claims of its answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_model::{Level, Lsn, Timeline, TokenParts, WalPosition};

/// A value that is written once; zero is what a register holds before its first write.
pub(super) type Value = u64;

/// How many writes a register has had.
pub(super) type Version = u64;

/// A consistency token as it travelled.
pub(super) type Token = Arc<str>;

/// A round: what its clients saw, the state at its end, and what happened to the primary.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) operations: Vec<Operation>,
    /// Every write that took effect and was not lost, by value; a value has one version unless it
    /// was written again.
    pub(super) ledger: HashMap<Value, Vec<Version>>,
    pub(super) promotion: Option<Promotion>,
}

/// A replica that became the primary during a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promotion {
    /// When it may have started to take writes, on the recorder's clock.
    pub(super) at: Duration,
    /// The timeline that it began.
    pub(super) timeline: Timeline,
    /// Where it branched off the one before.
    pub(super) switch: Lsn,
    /// Whether it lacked something that the former primary had acknowledged.
    pub(super) may_lose: bool,
}

/// One request of one client, on the recorder's clock.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) gateway: usize,
    pub(super) key: usize,
    pub(super) action: Action,
    pub(super) token: Option<Token>,
    pub(super) invoked: Duration,
    pub(super) completed: Duration,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Write(Value),
    /// At a level, with a bound when it is bounded.
    Read(Level, Option<Duration>),
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Answered(Answer),
    /// It certainly had no effect.
    Refused,
    /// The same, because what its token has seen is lost.
    Lost,
    /// It may have taken effect, or may still do so.
    Unknown,
}

/// A success and its claims.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) version: Version,
    pub(super) token: Option<Token>,
    pub(super) level: Level,
    pub(super) primary: bool,
    pub(super) staleness: Option<Duration>,
    /// The whole `Consistency-Status`, for reports of violations.
    pub(super) status: String,
}

impl Operation {
    pub(super) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Refused | Outcome::Lost | Outcome::Unknown => None,
        }
    }

    /// The answer to a write or to a strong read, which only the primary serves.
    pub(super) fn strong(&self) -> Option<&Answer> {
        match self.action {
            Action::Write(_) | Action::Read(Level::Strong, _) => self.answer(),
            Action::Read(..) => None,
        }
    }

    /// The answer to a read, with the level and bound of the request.
    pub(super) fn read(&self) -> Option<(Level, Option<Duration>, &Answer)> {
        match self.action {
            Action::Read(level, bound) => Some((level, bound, self.answer()?)),
            Action::Write(_) => None,
        }
    }

    /// The value it wrote or may have written.
    pub(super) fn written(&self) -> Option<Value> {
        match (self.action, &self.outcome) {
            (Action::Write(value), Outcome::Answered(_) | Outcome::Unknown) => Some(value),
            _ => None,
        }
    }
}

impl Answer {
    /// Whether it states that the request's token was not used.
    pub(super) fn disowns_the_token(&self) -> bool {
        self.status.ends_with("; reason=token-unverifiable")
    }

    /// The timeline that it was given on, as its token says; none without a token.
    pub(super) fn timeline(&self) -> Option<Timeline> {
        Some(position(self.token.as_ref()?).timeline)
    }
}

/// Where a token is.
pub(super) fn position(token: &Token) -> WalPosition {
    let parts = TokenParts::read(token).expect("a gateway signs tokens that can be read");
    parts.position
}

/// One line, for the investigation of a violation.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            gateway,
            key,
            action,
            invoked,
            completed,
            ..
        } = self;
        write!(
            f,
            "{invoked:?} to {completed:?}, client {client}, gateway {gateway}, key {key}"
        )?;
        write!(f, ", {action:?}, token {:?}: ", self.token)?;
        match &self.outcome {
            Outcome::Answered(Answer {
                value,
                version,
                token,
                status,
                ..
            }) => {
                write!(
                    f,
                    "value {value}, version {version}, token {token:?}, {status}"
                )
            }
            Outcome::Refused => f.write_str("refused"),
            Outcome::Lost => f.write_str("reported as lost"),
            Outcome::Unknown => f.write_str("unknown"),
        }
    }
}
