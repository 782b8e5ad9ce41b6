//! Clauses: when a region leaves and returns, and what happens when too many have left.

use std::time::Duration;

/// A quantity by which a region is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// The share of requests that failed, in millionths.
    Errors,
    /// The 99th percentile of the time to the head of an answer, in microseconds.
    P99,
    /// How busy the busiest of its pools and limits is, in millionths.
    Saturation,
    /// How far its replica is behind, in microseconds.
    Lag,
}

impl Quantity {
    /// All of them, in the order of the language.
    pub const ALL: [Self; 4] = [Self::Errors, Self::P99, Self::Saturation, Self::Lag];

    /// Returns the word of the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::P99 => "p99",
            Self::Saturation => "saturation",
            Self::Lag => "lag",
        }
    }
}

/// One quantity and its bound: exceeded in a `leave`, undercut in a `return`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measure {
    /// The quantity.
    pub quantity: Quantity,
    /// The bound: in millionths, or in microseconds.
    pub bound: u64,
}

/// How the measures of a clause are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Join {
    /// One of them is enough.
    Or,
    /// All of them must hold.
    And,
}

/// The measures of one clause, in a fixed order, so that equal clauses compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Measures {
    join: Join,
    measures: Box<[Measure]>,
}

impl Measures {
    /// Joins measures; a single one is the same under either join.
    pub fn new(join: Join, mut measures: Vec<Measure>) -> Self {
        measures.sort_unstable();
        measures.dedup();
        let join = if measures.len() < 2 { Join::Or } else { join };
        Self {
            join,
            measures: measures.into(),
        }
    }

    /// Returns how the measures are joined.
    pub fn join(&self) -> Join {
        self.join
    }

    /// Returns the measures, by quantity.
    pub fn iter(&self) -> impl Iterator<Item = Measure> {
        self.measures.iter().copied()
    }
}

/// `leave when … for …`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leave {
    /// The measures that must exceed their bounds.
    pub when: Measures,
    /// For how long.
    pub hold: Duration,
}

/// `return when … for … ramp …`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Return {
    /// The measures that must be below their bounds.
    pub when: Measures,
    /// For how long.
    pub hold: Duration,
    /// Over how long the keys come back; zero is at once.
    pub ramp: Duration,
}

/// A distinct pair of `leave` and `return`: the state of a region is kept for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// Without it a region leaves only if it is unreachable.
    pub leave: Option<Leave>,
    /// Without it a region returns when `leave` has not held for the time that it takes to leave.
    pub comeback: Option<Return>,
}

/// `retry …`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No other region is tried if one may have acted on the request.
    #[default]
    Never,
    /// Idempotent requests are tried elsewhere.
    Idempotent {
        /// The largest number of further regions.
        regions: u32,
        /// In millionths of the requests sent to a region.
        budget: u32,
    },
}

/// `else …`: what a request gets if no region is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Else {
    /// An error with this status.
    Status(u16),
    /// It is served here, regardless of the state of this region.
    Local,
}

impl Default for Else {
    fn default() -> Self {
        Self::Status(503)
    }
}

/// Clauses of one block: `None` for those that it does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clauses {
    /// When a region leaves.
    pub leave: Option<Leave>,
    /// When it returns.
    pub comeback: Option<Return>,
    /// Which requests are tried in another region.
    pub retry: Option<Retry>,
    /// The share of capacity, in millionths, below which `left` is ignored.
    pub panic_below: Option<u32>,
    /// What a request gets if no region is left.
    pub otherwise: Option<Else>,
    /// How many regions may be lost. The checker has proven it; no decision depends on it.
    pub survive: Option<u32>,
}

impl Clauses {
    /// Returns these clauses, with those of the other block for missing ones.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut clauses = self.clone();
        clauses.leave = clauses.leave.or_else(|| other.leave.clone());
        clauses.comeback = clauses.comeback.or_else(|| other.comeback.clone());
        clauses.take_rest(other);
        clauses
    }

    /// Fills in missing clauses, except `leave` and `return`.
    pub(crate) fn take_rest(&mut self, other: &Self) {
        self.retry = self.retry.or(other.retry);
        self.panic_below = self.panic_below.or(other.panic_below);
        self.otherwise = self.otherwise.or(other.otherwise);
        self.survive = self.survive.or(other.survive);
    }
}
