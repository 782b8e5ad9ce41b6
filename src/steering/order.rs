//! The order of the candidates, which does not change for small or short-lived differences.

use std::time::Duration;

use tokio::time::Instant;

/// A challenger's latency must be at most this fraction of the other's: 20 % less.
const CLEAR_PART: f64 = 0.8;

/// Differences below this are measurement noise.
const CLEAR_MIN: Duration = Duration::from_millis(1);

/// The candidates, best first, and since when each has been clearly faster than another.
#[derive(Clone, Debug)]
pub(super) struct Order {
    best_first: Vec<usize>,
    /// `clear_since[one * count + other]`: since when `one` has been clearly faster than `other`.
    clear_since: Vec<Option<Instant>>,
}

impl Order {
    /// Starts in the order of the indices.
    pub(super) fn new(count: usize) -> Self {
        Self {
            best_first: (0..count).collect(),
            clear_since: vec![None; count * count],
        }
    }

    /// Returns the candidates, best first.
    pub(super) fn best_first(&self) -> &[usize] {
        &self.best_first
    }

    /// Records that one candidate's latency has changed.
    pub(super) fn compare(&mut self, changed: usize, latencies: &[Duration], now: Instant) {
        for other in 0..latencies.len() {
            for (one, two) in [(changed, other), (other, changed)] {
                let clear = is_clearly_faster(latencies[one], latencies[two]);
                let since = &mut self.clear_since[one * latencies.len() + two];
                *since = clear.then(|| since.unwrap_or(now));
            }
        }
    }

    /// Lets each candidate overtake those that it has been clearly faster than for `dwell`.
    pub(super) fn remake(&mut self, dwell: Duration, now: Instant) {
        let count = self.best_first.len();
        for place in 1..count {
            let challenger = self.best_first[place];
            let overtakes = |other: &usize| {
                let since = self.clear_since[challenger * count + other];
                since.is_some_and(|since| now.saturating_duration_since(since) >= dwell)
            };
            if let Some(target) = self.best_first[..place].iter().position(overtakes) {
                self.best_first[target..=place].rotate_right(1);
            }
        }
    }
}

fn is_clearly_faster(one: Duration, other: Duration) -> bool {
    one <= other.mul_f64(CLEAR_PART) && other.saturating_sub(one) >= CLEAR_MIN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DWELL: Duration = Duration::from_secs(30);

    fn after_dwell(order: &mut Order, latencies: &[Duration], now: Instant) -> Vec<usize> {
        for changed in 0..latencies.len() {
            order.compare(changed, latencies, now);
        }
        order.remake(DWELL, now + DWELL);
        order.best_first().to_vec()
    }

    fn ms(latencies: &[u64]) -> Vec<Duration> {
        latencies
            .iter()
            .copied()
            .map(Duration::from_millis)
            .collect()
    }

    #[test]
    fn a_fifth_less_for_as_long_as_the_dwell_overtakes_and_less_does_not() {
        let now = Instant::now();
        assert_eq!(
            after_dwell(&mut Order::new(2), &ms(&[100, 81]), now),
            [0, 1]
        );
        let mut order = Order::new(2);
        order.compare(1, &ms(&[100, 80]), now);
        order.remake(DWELL, now + DWELL - Duration::from_millis(1));
        assert_eq!(order.best_first(), [0, 1]);
        order.remake(DWELL, now + DWELL);
        assert_eq!(order.best_first(), [1, 0]);
    }

    #[test]
    fn an_interruption_starts_the_dwell_anew() {
        let now = Instant::now();
        let mut order = Order::new(2);
        order.compare(1, &ms(&[100, 50]), now);
        order.compare(1, &ms(&[100, 90]), now + DWELL / 2);
        order.compare(1, &ms(&[100, 50]), now + DWELL);
        order.remake(DWELL, now + DWELL * 3 / 2);
        assert_eq!(order.best_first(), [0, 1]);
    }

    #[test]
    fn the_clearly_fastest_comes_first_past_those_in_between() {
        let now = Instant::now();
        let order = after_dwell(&mut Order::new(3), &ms(&[100, 90, 75]), now);
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn microseconds_do_not_matter() {
        let now = Instant::now();
        let fast = [Duration::from_micros(900), Duration::from_micros(100)];
        assert_eq!(after_dwell(&mut Order::new(2), &fast, now), [0, 1]);
    }

    proptest! {
        #[test]
        fn nobody_stays_behind_one_that_is_clearly_slower(
            latencies in prop::collection::vec(0_u64..300, 1..8),
        ) {
            let latencies = ms(&latencies);
            let order = after_dwell(&mut Order::new(latencies.len()), &latencies, Instant::now());
            for (place, &one) in order.iter().enumerate() {
                for &behind in &order[place..] {
                    prop_assert!(!is_clearly_faster(latencies[behind], latencies[one]));
                }
            }
            let mut all = order;
            all.sort_unstable();
            prop_assert_eq!(all, (0..latencies.len()).collect::<Vec<_>>());
        }
    }
}
