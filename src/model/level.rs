//! The four levels, and what a request requires of the node that serves it.

use std::fmt;
use std::time::Duration;

/// The promise that an answer keeps; later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Any committed state, however old.
    Eventual,
    /// Proven to be no older than a bound.
    Bounded,
    /// Nothing older than what the client has already seen or written.
    Session,
    /// The primary's current state.
    Strong,
}

impl Level {
    /// Every level, laxest first.
    pub const ALL: [Self; 4] = [Self::Eventual, Self::Bounded, Self::Session, Self::Strong];

    /// Returns the name used in headers, configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eventual => "eventual",
            Self::Bounded => "bounded",
            Self::Session => "session",
            Self::Strong => "strong",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// States how fresh an answer must be: a policy row's floor, a client's request, or the stricter of
/// both.
///
/// `Display` writes it as an `X-Consistency` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Consistency {
    /// The level.
    pub level: Level,
    /// The greatest staleness allowed. Always present at `bounded`; at `session` where a bounded
    /// floor was raised; never at the other two.
    pub max_staleness: Option<Duration>,
}

impl Consistency {
    /// Any committed state, however old.
    pub const EVENTUAL: Self = Self::of(Level::Eventual, None);
    /// Nothing older than what the client has seen.
    pub const SESSION: Self = Self::of(Level::Session, None);
    /// The primary's current state.
    pub const STRONG: Self = Self::of(Level::Strong, None);

    /// Asks for an answer that is at most `max_staleness` old.
    pub const fn bounded(max_staleness: Duration) -> Self {
        Self::of(Level::Bounded, Some(max_staleness))
    }

    const fn of(level: Level, max_staleness: Option<Duration>) -> Self {
        Self {
            level,
            max_staleness,
        }
    }

    /// Returns the laxest consistency that satisfies both.
    ///
    /// A bound is kept when the level is raised to session. Strong needs none: nothing is fresher
    /// than the primary.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let level = self.level.max(other.level);
        if level == Level::Strong {
            return Self::STRONG;
        }
        let bounds = [self.max_staleness, other.max_staleness];
        Self::of(level, bounds.into_iter().flatten().min())
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level.as_str())?;
        match self.max_staleness {
            Some(bound) => write!(f, ";max-staleness={}", Seconds(bound)),
            None => Ok(()),
        }
    }
}

/// Writes a duration in seconds as an RFC 9651 decimal: at most three decimals and no trailing
/// zero.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millis) = (self.0.as_secs(), self.0.subsec_millis());
        if millis == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{millis:03}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_consistency() -> impl Strategy<Value = Consistency> {
        let bound = (0..5_u64).prop_map(Duration::from_secs);
        prop_oneof![
            Just(Consistency::EVENTUAL),
            bound.clone().prop_map(Consistency::bounded),
            Just(Consistency::SESSION),
            bound.prop_map(|bound| Consistency::SESSION.stricter(Consistency::bounded(bound))),
            Just(Consistency::STRONG),
        ]
    }

    proptest! {
        #[test]
        fn stricter_is_commutative(a in any_consistency(), b in any_consistency()) {
            prop_assert_eq!(a.stricter(b), b.stricter(a));
        }

        #[test]
        fn stricter_is_associative(
            a in any_consistency(), b in any_consistency(), c in any_consistency(),
        ) {
            prop_assert_eq!(a.stricter(b).stricter(c), a.stricter(b.stricter(c)));
        }

        #[test]
        fn stricter_is_idempotent(a in any_consistency()) {
            prop_assert_eq!(a.stricter(a), a);
        }

        #[test]
        fn eventual_asks_for_nothing_more(a in any_consistency()) {
            prop_assert_eq!(a.stricter(Consistency::EVENTUAL), a);
        }
    }

    #[test]
    fn levels_are_ordered_from_lax_to_strict() {
        assert!(Level::ALL.is_sorted());
        assert!(Level::Eventual < Level::Bounded && Level::Session < Level::Strong);
    }

    #[test]
    fn a_bound_outlives_a_rise_to_session() {
        let floor = Consistency::bounded(Duration::from_secs(2));
        let raised = floor.stricter(Consistency::SESSION);
        assert_eq!(raised.level, Level::Session);
        assert_eq!(raised.max_staleness, floor.max_staleness);
    }

    #[test]
    fn the_shorter_bound_counts() {
        let (short, long) = (Duration::from_millis(500), Duration::from_secs(2));
        let both = Consistency::bounded(long).stricter(Consistency::bounded(short));
        assert_eq!(both, Consistency::bounded(short));
    }

    #[test]
    fn seconds_are_written_without_trailing_zeros() {
        let cases = [
            (0, "0"),
            (2_000, "2"),
            (250, "0.25"),
            (1_005, "1.005"),
            (1_500, "1.5"),
        ];
        for (millis, text) in cases {
            let field = Consistency::bounded(Duration::from_millis(millis)).to_string();
            assert_eq!(field, format!("bounded;max-staleness={text}"));
        }
    }
}
