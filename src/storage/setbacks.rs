//! When a round at a bucket is given up: pure.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::FaultKind;

/// Failures with no success between them after which a bucket is left alone until the next round. One that fails
/// now and then is not: its round would be over after a few objects.
const IN_A_ROW_MAX: usize = 4;

/// How often a bucket has failed since it did something.
#[derive(Debug, Default)]
pub(super) struct Setbacks(AtomicUsize);

impl Setbacks {
    /// Something was done.
    pub(super) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Takes one more. True if the bucket had better be left alone.
    pub(super) fn add(&self, kind: FaultKind) -> bool {
        let in_a_row = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        match kind {
            // It says so itself.
            FaultKind::Quota | FaultKind::Refused | FaultKind::Throttled => true,
            FaultKind::Server
            | FaultKind::Slow
            | FaultKind::Connection
            | FaultKind::Absent
            | FaultKind::Damaged
            | FaultKind::Other => in_a_row >= IN_A_ROW_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_fails_now_and_then_is_not_left_alone() {
        let setbacks = Setbacks::default();
        for _ in 0..100 {
            for _ in 1..IN_A_ROW_MAX {
                assert!(!setbacks.add(FaultKind::Server));
            }
            setbacks.end();
        }
    }

    #[test]
    fn a_bucket_that_does_nothing_any_more_or_asks_for_it_is_left_alone() {
        let setbacks = Setbacks::default();
        let failures = (1..=10).map(|_| setbacks.add(FaultKind::Connection));
        assert_eq!(
            failures.filter(|is_over| !is_over).count(),
            IN_A_ROW_MAX - 1
        );
        setbacks.end();
        for kind in [FaultKind::Quota, FaultKind::Refused, FaultKind::Throttled] {
            assert!(setbacks.add(kind), "{kind:?}");
            setbacks.end();
        }
    }
}
