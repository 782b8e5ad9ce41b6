//! How long a node's server needs for an endpoint's statement.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Most nodes that are told apart; those beyond are never taken for quick.
const NODES_MAX: usize = 32;

/// The mean from which on a read is not quick: those behind it on a shared connection would notice.
/// A node that is farther away than this answers nothing quickly.
const QUICK_MAX_US: u32 = 5_000;

/// An answer counts for one eighth of the mean, so that a slow one is remembered for some dozens.
const WEIGHT: u32 = 8;

const UNKNOWN: u32 = u32::MAX;

/// Decaying means of one statement; nodes are known by their indices.
#[derive(Debug)]
pub struct Quickness(Box<[AtomicU32; NODES_MAX]>);

impl Default for Quickness {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU32::new(UNKNOWN))))
    }
}

impl Quickness {
    /// Takes in how long a server took. One of two at the same moment may be left out.
    pub fn add(&self, node: usize, took: Duration) {
        let Some(mean) = self.0.get(node) else { return };
        let took = u32::try_from(took.as_micros()).unwrap_or(UNKNOWN - 1);
        let next = match mean.load(Ordering::Relaxed) {
            UNKNOWN => took,
            known => known - known / WEIGHT + took / WEIGHT,
        };
        mean.store(next.min(UNKNOWN - 1), Ordering::Relaxed);
    }

    /// Whether the statement has been answered on any node.
    pub fn is_known(&self) -> bool {
        let mut means = self.0.iter();
        means.any(|mean| mean.load(Ordering::Relaxed) != UNKNOWN)
    }

    /// Whether the statement is known to be quick on a node.
    pub fn is_quick(&self, node: usize) -> bool {
        let mean = self.0.get(node).map(|mean| mean.load(Ordering::Relaxed));
        mean.is_some_and(|mean| mean < QUICK_MAX_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_statement_is_quick_once_it_has_shown_that_and_not_for_long_after_a_slow_answer() {
        let quickness = Quickness::default();
        assert!(!quickness.is_quick(0));
        quickness.add(0, MS);
        assert!(quickness.is_quick(0) && !quickness.is_quick(1));
        quickness.add(0, 200 * MS);
        assert!(!quickness.is_quick(0));
        let answers = (1..).find(|_| {
            quickness.add(0, MS);
            quickness.is_quick(0)
        });
        assert!((8..32).contains(&answers.unwrap()), "{answers:?}");
    }

    #[test]
    fn a_statement_that_takes_long_never_becomes_quick() {
        let quickness = Quickness::default();
        (0..100).for_each(|_| quickness.add(0, 6 * MS));
        assert!(!quickness.is_quick(0));
        quickness.add(0, Duration::MAX);
        quickness.add(99, MS);
        assert!(!quickness.is_quick(0) && !quickness.is_quick(99));
    }
}
