//! All promises, and which check covers each.

use std::fmt;

use super::fate::Fate;
use super::{age, fate, linearizable, primary, session, values};
use crate::consistency::history::{History, Operation};

/// Something that was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::consistency) enum Guarantee {
    /// Strong operations on one key take effect at one instant each, within their duration.
    Linearizable,
    /// A session sees what it wrote.
    ReadYourWrites,
    /// A session never sees less than it has seen.
    MonotonicReads,
    /// A session's writes take effect in its order.
    MonotonicWrites,
    /// A write comes after what its session had read, and a client that sees it sees that too.
    WritesFollowReads,
    /// A bounded read is not older than its bound.
    WithinBound,
    /// An answer to a bounded read claims no staleness above the bound.
    ClaimWithinBound,
    /// An answer is not older than the staleness it claims.
    HonestStaleness,
    /// An answer's level is at least the requested one.
    LevelKept,
    /// A read shows what was written, and no refused write.
    WrittenValues,
    /// A write takes effect at most once.
    WrittenOnce,
    /// What was acknowledged or shown is kept, unless a promotion lost it.
    Durable,
    /// A token stands for no less than what its answer showed.
    TokenCovers,
    /// A client that has seen what a promotion lost gets an error, rather than what came instead.
    LossTold,
    /// No client whose token is part of what survived gets an error about a loss.
    LossReal,
    /// A gateway that has served a later timeline never uses the primary of an earlier one.
    OnePrimary,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(in crate::consistency) struct Violation {
    pub(in crate::consistency) guarantee: Guarantee,
    told: String,
}

impl Violation {
    /// An operation that breaks a promise, and what is wrong with it.
    pub(super) fn of(guarantee: Guarantee, operation: &Operation, why: &str) -> Self {
        let told = format!("{why}: {operation}");
        Self { guarantee, told }
    }

    /// A promise broken by no single operation.
    pub(super) fn of_many(guarantee: Guarantee, told: String) -> Self {
        Self { guarantee, told }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.guarantee, self.told)
    }
}

/// The result for a history.
pub(in crate::consistency) struct Verdict {
    pub(in crate::consistency) violations: Vec<Violation>,
    /// How many writes a promotion lost that a client had been shown.
    pub(in crate::consistency) losses: usize,
    /// How many answers of the primary lacked a commit that a replica had shown an instant before.
    pub(in crate::consistency) early_sights: usize,
}

/// Finds every broken promise of a history, whose operations may be in any order.
pub(in crate::consistency) fn judge(history: &History) -> Verdict {
    let fate = Fate::of(history);
    let (of_sessions, early_sights) = session::judge(&fate);
    let parts = [
        linearizable::judge(&fate),
        of_sessions,
        age::judge(&fate),
        values::judge(history),
        fate::judge(&fate),
        primary::judge(history),
    ];
    Verdict {
        violations: parts.concat(),
        losses: fate.losses(),
        early_sights,
    }
}
