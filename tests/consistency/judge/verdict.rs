//! All promises, and who looks for which.

use std::fmt;

use super::{age, linearizable, session, values};
use crate::consistency::history::Operation;

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
    /// A write comes after what its session had read, and whoever sees it sees that too.
    WritesFollowReads,
    /// A bounded read is not older than its bound.
    WithinBound,
    /// An answer is not older than the staleness it claims.
    HonestStaleness,
    /// An answer's level is at least the one that was asked for.
    LevelKept,
    /// A read shows what was written, and no refused write.
    WrittenValues,
    /// A write takes effect at most once.
    WrittenOnce,
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

/// Returns every broken promise of a history, whose operations may stand in any order.
pub(in crate::consistency) fn judge(history: &[Operation]) -> Vec<Violation> {
    let parts = [
        linearizable::judge(history),
        session::judge(history),
        age::judge(history),
        values::judge(history),
    ];
    parts.concat()
}
