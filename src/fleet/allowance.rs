//! So much a second, and a little at once.

use std::time::Duration;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    a_second: f64,
    at_once: f64,
    left: f64,
    counted: Duration,
}

impl Allowance {
    /// Begins full: in no second more than the sum of both is spent.
    pub(crate) const fn new(a_second: f64, at_once: f64) -> Self {
        Self {
            a_second,
            at_once,
            left: at_once,
            counted: Duration::ZERO,
        }
    }

    /// Returns whether something is left.
    pub(crate) fn has(&mut self, least: f64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
        self.left = (self.left + passed * self.a_second).min(self.at_once);
        self.left >= least
    }

    /// Spends some, more than is left if need be: but no more than a second brings back.
    pub(crate) fn spend(&mut self, cost: f64) {
        self.left = (self.left - cost).max(-self.a_second);
    }
}
