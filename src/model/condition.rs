//! What is known about a node, as one word.

use std::fmt;

/// States what a node can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeCondition {
    /// It answers and is not further behind than allowed; for the primary: it takes the writes.
    Fresh,
    /// It is further behind than allowed.
    Lagging,
    /// It answers and no lag can be shown, but it has no live WAL receiver.
    Disconnected,
    /// Its history is not the primary's: it is superseded, or belongs to another cluster. Also the
    /// server at `DATABASE_URL` if it is in recovery and no other node is the primary.
    Diverged,
    /// It is out of recovery and would take writes, although it is not the primary.
    Promoted,
    /// Too many samples in a row have failed.
    Unreachable,
    /// Too little is known: there is no sample yet, or nothing to compare it with.
    Unknown,
}

impl NodeCondition {
    /// Every condition, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Fresh,
        Self::Lagging,
        Self::Disconnected,
        Self::Diverged,
        Self::Promoted,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// Returns the name in metrics, logs and health checks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Lagging => "lagging",
            Self::Disconnected => "disconnected",
            Self::Diverged => "diverged",
            Self::Promoted => "promoted",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for NodeCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
