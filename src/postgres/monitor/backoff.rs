//! Growing pauses between attempts to connect.

use std::time::Duration;

/// Longest pause, without its random part: a server that is back is seen within about a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Keeps the interval of the samples while attempts decide whether the node is down, so that this
/// takes as long as with samples; then doubles. A part of every pause is random, so that gateways
/// that lost a server at the same time do not return at the same time.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    steady: u32,
    attempts: u32,
}

impl Backoff {
    /// Starts with `steady` pauses of one sample interval.
    pub(super) fn new(sample_interval: Duration, steady: u32) -> Self {
        Self {
            first: sample_interval,
            steady,
            attempts: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns the next pause. `random` is from 0 to 1.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let doublings = self.attempts.saturating_sub(self.steady);
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(doublings));
        let pause = doubled.min(PAUSE_MAX.max(self.first));
        pause.mul_f64(1.0 + random / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_steady_then_double_up_to_a_second_and_start_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(200), 3);
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause(0.0).as_millis()).collect();
        assert_eq!(pauses, [200, 200, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(1.0), Duration::from_millis(250));
    }

    #[test]
    fn pauses_stay_bounded_for_ever() {
        let mut backoff = Backoff::new(Duration::from_secs(2), 3);
        backoff.attempts = u32::MAX - 1;
        assert_eq!(backoff.pause(0.0), Duration::from_secs(2));
        assert_eq!(backoff.pause(0.0), Duration::from_secs(2));
    }
}
