//! How long a node's server needs for an endpoint's statement.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Most nodes that are tracked; on any others no statement counts as quick.
const NODES_MAX: usize = 32;

/// The mean from which a read is not quick: it would noticeably delay those behind it on a shared
/// connection. Where every answer takes a long round trip, a part of that is not noticed.
const QUICK_MAX: Duration = Duration::from_millis(5);
const QUICK_PART: u32 = 16;

/// The mean from which a read does not share a connection even if none is free: those behind it
/// would wait longer than in the queue, where each takes a round trip, too.
const MODERATE_MAX: Duration = Duration::from_millis(20);
const MODERATE_PART: u32 = 4;

/// The most that one answer contributes, in such times, so that a brief stall of the machine does
/// not make a statement slow: that takes several slow answers in a row.
const COUNTED_MAX: u32 = 2;

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
#[derive(Debug, Default)]
pub struct Quickness {
    /// Of what answers contribute at most, for the pace.
    bounded: Means,
    whole: Means,
}

#[derive(Debug)]
struct Means(Box<[AtomicU32; NODES_MAX]>);

impl Default for Means {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU32::new(UNKNOWN))))
    }
}

impl Means {
    fn add(&self, node: usize, took: Duration) {
        let Some(mean) = self.0.get(node) else { return };
        let took = u32::try_from(took.as_micros()).unwrap_or(UNKNOWN - 1);
        let next = match mean.load(Ordering::Relaxed) {
            UNKNOWN => took,
            known => known - known / WEIGHT + took / WEIGHT,
        };
        mean.store(next, Ordering::Relaxed);
    }

    /// Returns the mean on a node, else the greatest of the others.
    fn of(&self, node: usize) -> Option<Duration> {
        let known = |mean: &AtomicU32| Some(mean.load(Ordering::Relaxed)).filter(|m| *m != UNKNOWN);
        let here = self.0.get(node)?;
        let mean = known(here).or_else(|| self.0.iter().filter_map(known).max())?;
        Some(Duration::from_micros(mean.into()))
    }
}

impl Quickness {
    /// Records how long a server at some distance took. One of two simultaneous answers may be
    /// lost.
    pub fn add(&self, node: usize, took: Duration, round_trip: Duration) {
        let bounded = took.min(moderate_max(round_trip) * COUNTED_MAX);
        self.bounded.add(node, bounded);
        self.whole.add(node, took);
    }

    /// Whether the statement has been answered on any node.
    pub fn is_known(&self) -> bool {
        let mut means = self.whole.0.iter();
        means.any(|mean| mean.load(Ordering::Relaxed) != UNKNOWN)
    }

    /// Returns how long the statement takes on a node at some distance; a node without answers is assumed to be like
    /// the slowest of the others, so that it can serve their reads over few connections from the
    /// start.
    pub fn of(&self, node: usize, round_trip: Duration) -> Pace {
        if node >= NODES_MAX {
            return Pace::Slow;
        }
        match self.bounded.of(node) {
            Some(mean) if mean < QUICK_MAX.max(round_trip / QUICK_PART) => Pace::Quick,
            Some(mean) if mean >= moderate_max(round_trip) => Pace::Slow,
            Some(_) | None => Pace::Moderate,
        }
    }

    /// Returns the mean on a node, as for [`of`](Self::of), however long; none while no answer is known.
    pub fn mean(&self, node: usize) -> Option<Duration> {
        self.whole.of(node)
    }
}

fn moderate_max(round_trip: Duration) -> Duration {
    MODERATE_MAX.max(round_trip / MODERATE_PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_statement_is_quick_once_it_has_shown_that_and_not_for_a_while_after_slow_answers() {
        let quickness = Quickness::default();
        assert!(quickness.of(0, MS) != Pace::Quick);
        quickness.add(0, MS, MS);
        assert!(quickness.of(0, MS) == Pace::Quick);
        quickness.add(0, 200 * MS, MS);
        assert_eq!(quickness.of(0, MS), Pace::Moderate);
        (0..8).for_each(|_| quickness.add(0, 200 * MS, MS));
        assert_eq!(quickness.of(0, MS), Pace::Slow);
        let answers = (1..).find(|_| {
            quickness.add(0, MS, MS);
            quickness.of(0, MS) == Pace::Quick
        });
        assert!((8..32).contains(&answers.unwrap()), "{answers:?}");
    }

    #[test]
    fn a_node_that_was_never_asked_is_taken_to_be_like_the_slowest_of_the_others() {
        let quickness = Quickness::default();
        quickness.add(0, MS, MS);
        assert_eq!(quickness.of(1, MS), Pace::Quick);
        assert_eq!(quickness.mean(1), Some(MS));
        quickness.add(2, 6 * MS, MS);
        assert!(quickness.of(0, MS) == Pace::Quick && quickness.of(1, MS) == Pace::Moderate);
    }

    #[test]
    fn a_statement_that_takes_long_never_becomes_quick() {
        let quickness = Quickness::default();
        assert_eq!(quickness.of(0, MS), Pace::Moderate);
        (0..100).for_each(|_| quickness.add(0, 6 * MS, MS));
        assert_eq!(quickness.of(0, MS), Pace::Moderate);
        (0..100).for_each(|_| quickness.add(0, 60 * MS, MS));
        assert_eq!(quickness.of(0, MS), Pace::Slow);
        assert!((50 * MS..=60 * MS).contains(&quickness.mean(0).unwrap()));
        quickness.add(0, Duration::MAX, MS);
        quickness.add(99, MS, MS);
        assert!(quickness.of(0, MS) == Pace::Slow && quickness.of(99, MS) == Pace::Slow);
        assert_eq!(quickness.mean(99), None);
    }

    #[test]
    fn far_away_only_what_takes_long_beside_the_round_trip_is_slow() {
        let (quickness, far) = (Quickness::default(), 240 * MS);
        (0..100).for_each(|_| quickness.add(0, 14 * MS, MS));
        assert_eq!(quickness.of(1, MS), Pace::Moderate);
        assert_eq!(quickness.of(1, far), Pace::Quick);
        (0..100).for_each(|_| quickness.add(1, 59 * MS, far));
        assert_eq!(quickness.of(1, far), Pace::Moderate);
        (0..100).for_each(|_| quickness.add(1, 61 * MS, far));
        assert_eq!(quickness.of(1, far), Pace::Slow);
    }
}
