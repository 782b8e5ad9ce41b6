//! When a request to a node may also be sent to another node: after a failure, or as a hedge.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::RetryBudget;

/// The retry budget of one node, shared by all requests; only retries and hedges take its lock.
#[derive(Debug)]
pub struct SecondTries {
    /// First attempts that have not been reported to the budget.
    sent: AtomicU32,
    budget: Mutex<RetryBudget>,
}

impl SecondTries {
    /// Grants retries and hedges to a share of the requests; see [`RetryBudget::new`].
    pub fn new(share: f64, now: Instant) -> Self {
        Self {
            sent: AtomicU32::new(0),
            budget: Mutex::new(RetryBudget::new(share, now)),
        }
    }

    /// Records that a request is being sent for the first time.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether a request to the node may also be sent to another one, and counts it.
    pub fn grant(&self, now: Instant) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.deposit(self.sent.swap(0, Ordering::Relaxed), now);
        budget.withdraw(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_may_be_sent_again_and_some_more() {
        let now = Instant::now();
        let tries = SecondTries::new(0.2, now);
        (0..100).for_each(|_| tries.sent());
        let granted = (0..1_000).filter(|_| tries.grant(now)).count();
        assert_eq!(granted, 30);
    }
}
