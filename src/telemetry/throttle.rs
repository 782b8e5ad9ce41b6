//! Keeps a repeated warning from flooding the log.

use tokio::time::{Duration, Instant};

/// Lets one event pass per interval and counts the others.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Starts with an event that may pass.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            suppressed: 0,
        }
    }

    /// Returns whether an event may pass.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + self.interval)
    }

    /// Returns how many events were suppressed since the last one that passed, if this one may
    /// pass.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if !self.is_open(now) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_once_and_is_counted() {
        let start = Instant::now();
        let interval = Duration::from_secs(10);
        let mut throttle = Throttle::new(interval);
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start), None);
        assert_eq!(throttle.pass(start + interval / 2), None);
        assert_eq!(throttle.pass(start + interval), Some(2));
    }
}
