//! How long to wait for an answer before the request is also sent to another node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::RecentLatencies;

/// The quantile of the answers whose double is the delay of a hedge: a request that is merely among
/// the slower ones is not worth a second one (Dean and Barroso, "The Tail at Scale", 2013).
const HEDGED_QUANTILE: f64 = 0.99;

/// Shortest delay, far above a timer's precision.
const HEDGE_DELAY_MIN: Duration = Duration::from_millis(20);
/// Longest delay, which is also used while too little is known.
const HEDGE_DELAY_MAX: Duration = Duration::from_millis(500);
const HEDGE_DELAY_UNKNOWN: Duration = Duration::from_millis(150);

/// Up to this many answers, each one updates the quantile; beyond that, one in [`ANSWERS_PER_QUANTILE`]
/// does, because computing the quantile costs more than everything else here and it hardly changes.
const ANSWERS_FEW: u64 = 100;
const ANSWERS_PER_QUANTILE: u64 = 8;

/// Tracks the answers of one node, or of one endpoint on one node, without a lock that requests
/// wait for.
#[derive(Debug)]
pub struct HedgeDelay {
    latencies: Mutex<RecentLatencies>,
    delay_us: AtomicU64,
}

impl HedgeDelay {
    /// Starts without any answer.
    pub fn new(now: Instant) -> Self {
        Self {
            latencies: Mutex::new(RecentLatencies::new(now)),
            delay_us: AtomicU64::new(micros(HEDGE_DELAY_UNKNOWN)),
        }
    }

    /// Records how long an answer took.
    pub fn add(&self, latency: Duration, now: Instant) {
        // An answer may be left out while another is being added.
        if let Ok(mut latencies) = self.latencies.try_lock() {
            latencies.add(latency, now);
            let total = latencies.total();
            if total > ANSWERS_FEW && !total.is_multiple_of(ANSWERS_PER_QUANTILE) {
                return;
            }
            let delay = latencies.quantile(HEDGED_QUANTILE).map(|slow| 2 * slow);
            let delay = delay.unwrap_or(HEDGE_DELAY_UNKNOWN);
            let delay = delay.clamp(HEDGE_DELAY_MIN, HEDGE_DELAY_MAX);
            self.delay_us.store(micros(delay), Ordering::Relaxed);
        }
    }

    /// Returns a quantile (from 0 to 1) of the recent answers; `None` if there are too few, or they have
    /// faded.
    pub fn quantile(&self, part: f64, now: Instant) -> Option<Duration> {
        let latencies = self.latencies.lock().ok();
        latencies.and_then(|latencies| latencies.quantile_at(part, now))
    }

    /// Returns the delay.
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
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
            let delay = HedgeDelay::new(now);
            for _ in 0..50 {
                delay.add(latency, now);
            }
            delay.get()
        };
        assert_eq!(HedgeDelay::new(now).get(), HEDGE_DELAY_UNKNOWN);
        assert_eq!(delay_after(MS), HEDGE_DELAY_MIN);
        let delay = delay_after(80 * MS);
        assert!((160 * MS..200 * MS).contains(&delay), "{delay:?}");
        assert_eq!(delay_after(2_000 * MS), HEDGE_DELAY_MAX);
    }

    #[test]
    fn a_delay_follows_its_answers_however_many_there_were() {
        let now = Instant::now();
        let delay = HedgeDelay::new(now);
        for _ in 0..10 * ANSWERS_FEW {
            delay.add(MS, now);
        }
        for _ in 0..10 * ANSWERS_FEW {
            delay.add(80 * MS, now);
        }
        assert!(delay.get() >= 160 * MS, "{:?}", delay.get());
    }
}
