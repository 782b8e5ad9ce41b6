//! Growing pauses between attempts to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Longest pause: a server that is back is seen within about a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Doubles from the sample interval to a second. Half of every pause is random, so that gateways
/// that lost a server together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at the pace of the samples: a faster one would make a node count as down sooner.
    pub(super) fn new(sample_interval: Duration) -> Self {
        Self {
            first: sample_interval,
            next: sample_interval,
        }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns the next pause. `random` is from 0 to 1.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        let pause = self.next.mul_f64(1.0 + random / 2.0);
        self.next = (self.next * 2).min(PAUSE_MAX.max(self.first));
        pause
    }
}

/// Returns a number from 0 to 1, good enough to spread out and nothing else.
pub(super) fn random() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(250));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(0.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(1.0), Duration::from_millis(375));
    }

    #[test]
    fn the_random_part_varies_and_stays_in_range() {
        let drawn: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|number| (0.0..=1.0).contains(number)));
        assert!(drawn.iter().any(|&number| number < 0.5));
        assert!(drawn.iter().any(|&number| number > 0.5));
    }
}
