//! The one word for what is known of a node.

use std::fmt;

/// Says what a node is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It answers and is not behind more than allowed; of the primary: it takes the writes.
    Fresh,
    /// It is behind more than allowed.
    Lagging,
    /// It answers and is not behind as far as can be shown, but has no live WAL receiver.
    Disconnected,
    /// Its history is not the primary's: it is superseded, or of another cluster. Also where
    /// `DATABASE_URL` leads, if that is in recovery and nobody else is the primary.
    Diverged,
    /// It is out of recovery and would take writes, although it is not the primary.
    Promoted,
    /// Too many samples in a row have failed.
    Unreachable,
    /// Too little is known: no sample yet, or nothing to compare it with.
    Unknown,
}

impl Condition {
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

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
