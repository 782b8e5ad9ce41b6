//! How long a node's server needs for an endpoint's statement.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Most nodes that are tracked; on any others no statement counts as quick.
const NODES_MAX: usize = 32;

/// The mean from which a read is not quick: it would noticeably delay those behind it on a shared
/// connection.
const QUICK_MAX_US: u32 = 5_000;

/// The mean from which a read does not share a connection even if none is free: those behind it
/// would wait longer than in the queue.
const MODERATE_MAX_US: u32 = 20_000;

/// The most that one answer contributes, so that a brief stall of the machine does not make a
/// statement slow: that takes several slow answers in a row.
const COUNTED_MAX_US: u32 = 2 * MODERATE_MAX_US;

/// An answer contributes one eighth to the mean, so that a slow one matters for a few dozen
/// answers.
const WEIGHT: u32 = 8;

const UNKNOWN: u32 = u32::MAX;

/// How long a read delays others on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Not noticeably.
    Quick,
    /// Less than a queue for a connection would, or unknown.
    Moderate,
    /// Longer.
    Slow,
}

/// Decaying means of one statement; nodes are identified by their indices.
#[derive(Debug)]
pub struct Quickness(Box<[AtomicU32; NODES_MAX]>);

impl Default for Quickness {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU32::new(UNKNOWN))))
    }
}

impl Quickness {
    /// Records how long a server took. One of two simultaneous answers may be lost.
    pub fn add(&self, node: usize, took: Duration) {
        let Some(mean) = self.0.get(node) else { return };
        let took =
            u32::try_from(took.as_micros()).map_or(COUNTED_MAX_US, |us| us.min(COUNTED_MAX_US));
        let next = match mean.load(Ordering::Relaxed) {
            UNKNOWN => took,
            known => known - known / WEIGHT + took / WEIGHT,
        };
        mean.store(next, Ordering::Relaxed);
    }

    /// Whether the statement has been answered on any node.
    pub fn is_known(&self) -> bool {
        let mut means = self.0.iter();
        means.any(|mean| mean.load(Ordering::Relaxed) != UNKNOWN)
    }

    /// Returns how long the statement takes on a node; a node without answers is assumed to be like
    /// the slowest of the others, so that it can serve their reads over few connections from the
    /// start.
    pub fn of(&self, node: usize) -> Pace {
        let known = |mean: &AtomicU32| Some(mean.load(Ordering::Relaxed)).filter(|m| *m != UNKNOWN);
        let Some(here) = self.0.get(node) else {
            return Pace::Slow;
        };
        match known(here).or_else(|| self.0.iter().filter_map(known).max()) {
            Some(mean) if mean < QUICK_MAX_US => Pace::Quick,
            Some(mean) if mean >= MODERATE_MAX_US => Pace::Slow,
            Some(_) | None => Pace::Moderate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_statement_is_quick_once_it_has_shown_that_and_not_for_a_while_after_slow_answers() {
        let quickness = Quickness::default();
        assert!(quickness.of(0) != Pace::Quick);
        quickness.add(0, MS);
        assert!(quickness.of(0) == Pace::Quick);
        quickness.add(0, 200 * MS);
        assert_eq!(quickness.of(0), Pace::Moderate);
        (0..8).for_each(|_| quickness.add(0, 200 * MS));
        assert_eq!(quickness.of(0), Pace::Slow);
        let answers = (1..).find(|_| {
            quickness.add(0, MS);
            quickness.of(0) == Pace::Quick
        });
        assert!((8..32).contains(&answers.unwrap()), "{answers:?}");
    }

    #[test]
    fn a_node_that_was_never_asked_is_taken_to_be_like_the_slowest_of_the_others() {
        let quickness = Quickness::default();
        quickness.add(0, MS);
        assert_eq!(quickness.of(1), Pace::Quick);
        quickness.add(2, 6 * MS);
        assert!(quickness.of(0) == Pace::Quick && quickness.of(1) == Pace::Moderate);
    }

    #[test]
    fn a_statement_that_takes_long_never_becomes_quick() {
        let quickness = Quickness::default();
        assert_eq!(quickness.of(0), Pace::Moderate);
        (0..100).for_each(|_| quickness.add(0, 6 * MS));
        assert_eq!(quickness.of(0), Pace::Moderate);
        (0..100).for_each(|_| quickness.add(0, 60 * MS));
        assert_eq!(quickness.of(0), Pace::Slow);
        quickness.add(0, Duration::MAX);
        quickness.add(99, MS);
        assert!(quickness.of(0) == Pace::Slow && quickness.of(99) == Pace::Slow);
    }
}
