//! When a request to a node may be sent a second time, elsewhere: after a failure, or as a hedge.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::steering::hedge_delay::micros;
use crate::steering::{HedgeDelay, RetryBudget};

/// The record of one node, shared by all requests to it without a lock that they wait for.
#[derive(Debug)]
pub struct SecondTries {
    /// First tries that the budget has not been told of.
    sent: AtomicU32,
    budget: Mutex<RetryBudget>,
    hedge_delay: HedgeDelay,
    /// When the newest answer came, in microseconds since `started`.
    answered_us: AtomicU64,
    started: Instant,
}

impl SecondTries {
    /// Grants second tries to a share of the requests, from 0 to 1, beside a small floor.
    pub fn new(share: f64, now: Instant) -> Self {
        Self {
            sent: AtomicU32::new(0),
            budget: Mutex::new(RetryBudget::new(share, now)),
            hedge_delay: HedgeDelay::new(now),
            answered_us: AtomicU64::new(0),
            started: now,
        }
    }

    /// Takes in that a request is being sent for the first time.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes in that the node has answered a request, and how long that took.
    pub fn answered(&self, latency: Duration, now: Instant) {
        self.heard(now);
        self.hedge_delay.add(latency, now);
    }

    /// Takes in a sign of life.
    pub fn heard(&self, now: Instant) {
        let at = micros(now.saturating_duration_since(self.started));
        self.answered_us.fetch_max(at, Ordering::Relaxed);
    }

    /// Tells whether nothing at all has come from the node since then.
    pub fn is_silent_since(&self, then: Instant) -> bool {
        let then = micros(then.saturating_duration_since(self.started));
        self.answered_us.load(Ordering::Relaxed) < then
    }

    /// Returns how long to wait for an answer before another node is asked as well.
    pub fn hedge_delay(&self) -> Duration {
        self.hedge_delay.get()
    }

    /// Tells whether a request to the node may be sent elsewhere as well, and counts it.
    pub fn grant(&self, now: Instant) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.deposit(self.sent.swap(0, Ordering::Relaxed), now);
        budget.withdraw(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn silence_ends_with_any_sign_of_life() {
        let now = Instant::now();
        let tries = SecondTries::new(0.2, now);
        let sent = now + MS;
        assert!(tries.is_silent_since(sent));
        tries.heard(sent + MS);
        assert!(!tries.is_silent_since(sent));
        assert!(tries.is_silent_since(sent + 2 * MS));
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again_and_some_more() {
        let now = Instant::now();
        let tries = SecondTries::new(0.2, now);
        (0..100).for_each(|_| tries.sent());
        let granted = (0..1_000).filter(|_| tries.grant(now)).count();
        assert_eq!(granted, 30);
    }
}
