//! A bound on the number of concurrent requests; a gauge shows the current number.

use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;

/// Allows a bounded number of requests to be in progress.
///
/// The bound is exact, so that all threads change one number. A semaphore would also take a lock of those that wait,
/// whenever room is given back, and none ever waits.
pub struct ConcurrencyLimit {
    count: usize,
    taken: AtomicUsize,
    shown: Gauge,
}

/// Room for one request; dropping it frees the room.
pub struct Permit<'a>(&'a ConcurrencyLimit);

impl ConcurrencyLimit {
    /// Starts with all of its room free.
    pub fn new(count: usize, shown: Gauge) -> Self {
        shown.set(0.0);
        Self {
            count,
            taken: AtomicUsize::new(0),
            shown,
        }
    }

    /// How many requests may be in progress.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of further requests that there is room for.
    pub fn free(&self) -> usize {
        self.count - self.taken.load(Ordering::Relaxed)
    }

    /// Takes room at once or not at all: a queue here would only be a slower refusal.
    pub fn enter(&self) -> Option<Permit<'_>> {
        let take = |taken| (taken < self.count).then_some(taken + 1);
        let entered = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        entered.ok()?;
        self.shown.increment(1);
        Some(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.shown.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_enter_and_each_that_leaves_makes_room() {
        let limit = ConcurrencyLimit::new(2, Gauge::noop());
        let (one, another) = (limit.enter(), limit.enter());
        assert!(one.is_some() && another.is_some() && limit.enter().is_none());
        assert_eq!(limit.free(), 0);
        drop(one);
        assert_eq!(limit.free(), 1);
        let third = limit.enter();
        assert!(third.is_some() && limit.enter().is_none());
    }
}
