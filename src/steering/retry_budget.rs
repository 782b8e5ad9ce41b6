//! How many retries and hedges a node may cause.

use std::time::Duration;

use tokio::time::Instant;

/// Retries and hedges per second that are always granted, so that a quiet gateway can retry at all.
const FLOOR_PER_SECOND: f64 = 10.0;

/// What can be saved up: so much time's worth, of the floor and of the share of the requests. A node
/// that freezes is known to have failed after some tenths of a second and must not use that up.
const SAVED: Duration = Duration::from_secs(10);

/// A leaky token bucket that requests fill and that retries and hedges empty, like Finagle's
/// `RetryBudget`: a node whose requests all fail cannot multiply the load on the others.
#[derive(Debug)]
pub struct RetryBudget {
    /// Retries and hedges that each request pays for.
    share: f64,
    floor_per_second: f64,
    saved_of_floor: f64,
    saved_of_share: f64,
    at: Instant,
}

impl RetryBudget {
    /// Grants a share of the requests, from 0 to 1, in addition to the floor; nothing at all if it
    /// is 0.
    pub fn new(share: f64, now: Instant) -> Self {
        let floor_per_second = match share > 0.0 {
            true => FLOOR_PER_SECOND,
            false => 0.0,
        };
        Self {
            share: share.clamp(0.0, 1.0),
            floor_per_second,
            saved_of_floor: floor_per_second,
            saved_of_share: 0.0,
            at: now,
        }
    }

    /// Records that a number of requests were sent for the first time since the last record.
    pub fn deposit(&mut self, requests: u32, now: Instant) {
        let passed = self.refill(now);
        // As if they had been sent at a steady rate: the earlier ones have leaked in part.
        let left = match passed > 0.0 {
            true => (1.0 - (-passed).exp()) / passed,
            false => 1.0,
        };
        self.saved_of_share += self.share * f64::from(requests) * left;
    }

    /// Returns whether one retry or hedge may be sent, and counts it.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.refill(now);
        let granted = self.saved_of_share + self.saved_of_floor >= 1.0;
        if granted {
            let of_share = self.saved_of_share.min(1.0);
            self.saved_of_share -= of_share;
            self.saved_of_floor -= 1.0 - of_share;
        }
        granted
    }

    /// Returns the time that has passed, in units of [`SAVED`].
    fn refill(&mut self, now: Instant) -> f64 {
        let passed: Duration = now.saturating_duration_since(self.at);
        let of_floor = self.saved_of_floor + passed.as_secs_f64() * self.floor_per_second;
        self.saved_of_floor = of_floor.min(self.floor_per_second * SAVED.as_secs_f64());
        let passed = passed.div_duration_f64(SAVED);
        self.saved_of_share *= (-passed).exp();
        self.at = self.at.max(now);
        passed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn second_tries_never_exceed_share_and_floor(
            share in 0.0..1.0_f64,
            steps in prop::collection::vec((0_u64..500, 0_u32..30, 0_u32..30), 1..60),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut budget = RetryBudget::new(share, start);
            let (mut sent, mut granted) = (0, 0);
            for (pause, requests, retries) in steps {
                now += Duration::from_millis(pause);
                budget.deposit(requests, now);
                sent += requests;
                for _ in 0..retries {
                    granted += u32::from(budget.withdraw(now));
                }
            }
            let seconds = now.duration_since(start).as_secs_f64();
            let most = FLOOR_PER_SECOND * (1.0 + seconds) + share * f64::from(sent);
            prop_assert!(f64::from(granted) <= most + 0.001);
        }
    }

    #[test]
    fn a_share_of_nothing_grants_nothing() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(0.0, now);
        budget.deposit(1_000, now);
        assert!(!budget.withdraw(now + Duration::from_secs(60)));
    }

    #[test]
    fn ten_seconds_of_the_share_and_of_the_floor_are_saved_up() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(0.2, now);
        let minute = now + Duration::from_secs(60);
        budget.deposit(60_000, minute);
        let granted = (0..10_000).filter(|_| budget.withdraw(minute)).count();
        assert!((2_090..=2_100).contains(&granted), "{granted}");
    }

    #[test]
    fn a_quiet_node_can_retry_and_a_failing_one_cannot_for_ever() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(0.2, now);
        let granted = (0..1_000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(granted, 10);
        budget.deposit(50, now);
        let granted = (0..1_000).filter(|_| budget.withdraw(now)).count();
        assert!((9..=10).contains(&granted), "{granted}");
        assert!(budget.withdraw(now + Duration::from_millis(101)));
    }
}
