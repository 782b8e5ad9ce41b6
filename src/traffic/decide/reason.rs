//! How a region was chosen, in one word.

use std::fmt;

/// How a region was chosen, or why the proposed one was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionReason {
    /// It is the gateway's own, by a tier `local`.
    Local,
    /// A tier names it.
    Named,
    /// It is the nearest.
    Nearest,
    /// The key's hash chose it, by weight.
    Weighted,
    /// The key's hash chose it.
    Spread,
    /// The proposed region has left.
    Left,
    /// The proposed region is drained.
    Draining,
    /// The proposed region's ramp does not admit the key yet.
    Ramping,
    /// The proposed region has left, but so have too many others.
    Panic,
    /// No region may serve.
    Else,
    /// The request came from another region's gateway. Set after the decision.
    Hop,
    /// There is no tunnel to the region. Set after the decision.
    NoTunnel,
}

impl RegionReason {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Local,
        Self::Named,
        Self::Nearest,
        Self::Weighted,
        Self::Spread,
        Self::Left,
        Self::Draining,
        Self::Ramping,
        Self::Panic,
        Self::Else,
        Self::Hop,
        Self::NoTunnel,
    ];

    /// Returns the word used in metrics, logs and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Named => "named",
            Self::Nearest => "nearest",
            Self::Weighted => "weighted",
            Self::Spread => "spread",
            Self::Left => "left",
            Self::Draining => "draining",
            Self::Ramping => "ramping",
            Self::Panic => "panic",
            Self::Else => "else",
            Self::Hop => "hop",
            Self::NoTunnel => "no-tunnel",
        }
    }
}

impl fmt::Display for RegionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
