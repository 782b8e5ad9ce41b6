//! Why a node was chosen.

use std::fmt;

/// The closed set of `reason` in `Consistency-Status`, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The nearest node, and nothing speaks against it.
    Fresh,
    /// Its proven staleness is within the bound.
    WithinBound,
    /// It has replayed the token's position.
    TokenReached,
    /// It reached the token's position while the request waited.
    Waited,
    /// Strong reads are served by the primary.
    Strong,
    /// Writes are served by the primary.
    Write,
    /// There is no replica.
    NoReplica,
    /// The nearest replica is too far behind.
    ReplicaLagging,
    /// The nearest replica does not answer, has only recently recovered, is drained, or is not a
    /// replica of this primary any more.
    ReplicaDown,
    /// No replica is proven to be within the bound.
    BoundUnproven,
    /// No replica has reached the token's position.
    TokenBehind,
    /// The token cannot be verified, so only the primary is safe.
    TokenUnverifiable,
    /// Another node failed while it served the request.
    Retry,
    /// Another node was slow to answer the request.
    Hedge,
}

impl Reason {
    /// The name in headers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::WithinBound => "within-bound",
            Self::TokenReached => "token-reached",
            Self::Waited => "waited",
            Self::Strong => "strong",
            Self::Write => "write",
            Self::NoReplica => "no-replica",
            Self::ReplicaLagging => "replica-lagging",
            Self::ReplicaDown => "replica-down",
            Self::BoundUnproven => "bound-unproven",
            Self::TokenBehind => "token-behind",
            Self::TokenUnverifiable => "token-unverifiable",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
