//! When a request to a node may be sent a second time, elsewhere: after a failure, or as a hedge.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::steering::{RecentLatencies, RetryBudget};

/// The part of the answers that a hedge leaves time for, twice over: a request that is merely among
/// the slower ones is not worth a second one (Dean and Barroso, "The Tail at Scale", 2013).
const HEDGED_QUANTILE: f64 = 0.99;

/// Least time that an answer is given, far above a timer's precision.
const HEDGE_DELAY_MIN: Duration = Duration::from_millis(20);
/// Most, and what is given while too little is known.
const HEDGE_DELAY_MAX: Duration = Duration::from_millis(500);
const HEDGE_DELAY_UNKNOWN: Duration = Duration::from_millis(150);

/// The record of one node, shared by all requests to it without a lock that they wait for.
#[derive(Debug)]
pub struct SecondTries {
    /// First tries that the budget has not been told of.
    sent: AtomicU32,
    budget: Mutex<RetryBudget>,
    latencies: Mutex<RecentLatencies>,
    hedge_delay_us: AtomicU64,
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
            latencies: Mutex::new(RecentLatencies::new(now)),
            hedge_delay_us: AtomicU64::new(micros(HEDGE_DELAY_UNKNOWN)),
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
        // One of many answers may be left out while another is being added.
        if let Ok(mut latencies) = self.latencies.try_lock() {
            latencies.add(latency, now);
            let delay = latencies.quantile(HEDGED_QUANTILE).map(|slow| 2 * slow);
            let delay = delay.unwrap_or(HEDGE_DELAY_UNKNOWN);
            let delay = delay.clamp(HEDGE_DELAY_MIN, HEDGE_DELAY_MAX);
            self.hedge_delay_us.store(micros(delay), Ordering::Relaxed);
        }
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
        Duration::from_micros(self.hedge_delay_us.load(Ordering::Relaxed))
    }

    /// Tells whether a request to the node may be sent elsewhere as well, and counts it.
    pub fn grant(&self, now: Instant) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.deposit(self.sent.swap(0, Ordering::Relaxed), now);
        budget.withdraw(now)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_hedge_waits_for_twice_what_slow_answers_take_within_limits() {
        let now = Instant::now();
        let delay_after = |latency: Duration| {
            let tries = SecondTries::new(0.2, now);
            for _ in 0..50 {
                tries.answered(latency, now);
            }
            tries.hedge_delay()
        };
        assert_eq!(
            SecondTries::new(0.2, now).hedge_delay(),
            HEDGE_DELAY_UNKNOWN
        );
        assert_eq!(delay_after(MS), HEDGE_DELAY_MIN);
        let delay = delay_after(80 * MS);
        assert!((160 * MS..200 * MS).contains(&delay), "{delay:?}");
        assert_eq!(delay_after(2_000 * MS), HEDGE_DELAY_MAX);
    }

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
