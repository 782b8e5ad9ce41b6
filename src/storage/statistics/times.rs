//! Latencies of a while: their average, and quantiles to an eighth.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts by size. Eight counters for each power of two of microseconds, and only those that are used.
#[derive(Debug, Default)]
pub(in crate::storage) struct Times {
    counts: BTreeMap<u32, u64>,
    sum: Duration,
    count: u64,
}

/// Bits of a number that its counter keeps below the highest one.
const FINE_BITS: u32 = 3;

impl Times {
    pub(in crate::storage) fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        *self.counts.entry(counter(micros)).or_default() += 1;
        self.sum = self.sum.saturating_add(time);
        self.count += 1;
    }

    pub(in crate::storage) fn count(&self) -> u64 {
        self.count
    }

    /// The sum, in milliseconds.
    pub(in crate::storage) fn sum_ms(&self) -> f64 {
        self.sum.as_secs_f64() * 1_000.0
    }

    /// The average, in milliseconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "no more than 2^53 requests in a minute"
    )]
    pub(in crate::storage) fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ms() / self.count as f64)
    }

    /// The 99th percentile, in milliseconds, rounded up by an eighth at most.
    #[expect(clippy::cast_precision_loss, reason = "microseconds are few enough")]
    pub(in crate::storage) fn p99_ms(&self) -> Option<f64> {
        let rank = (self.count * 99).div_ceil(100);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(counter, _)| highest(*counter) as f64 / 1_000.0)
    }
}

fn counter(micros: u64) -> u32 {
    let power = micros.ilog2();
    if power <= FINE_BITS {
        return u32::try_from(micros).unwrap_or_default();
    }
    let fine = (micros >> (power - FINE_BITS)) & ((1 << FINE_BITS) - 1);
    (power << FINE_BITS) + u32::try_from(fine).unwrap_or_default()
}

/// The highest number of a counter.
fn highest(counter: u32) -> u64 {
    let power = counter >> FINE_BITS;
    if counter < (FINE_BITS + 1) << FINE_BITS {
        return u64::from(counter);
    }
    let fine = u64::from(counter & ((1 << FINE_BITS) - 1));
    let step = 1_u64 << (power - FINE_BITS);
    (((1 << FINE_BITS) + fine) * step).saturating_add(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_an_eighth_and_averages_are_exact() {
        let mut times = Times::default();
        assert_eq!((times.mean_ms(), times.p99_ms()), (None, None));
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        assert!((times.mean_ms().unwrap() - 50.5).abs() < 1e-6);
        let p99 = times.p99_ms().unwrap();
        assert!((99.0..99.0 * 1.125).contains(&p99), "{p99}");
    }

    #[test]
    fn every_time_has_a_counter_that_holds_it() {
        let mut before = 0;
        for micros in (1..5_000).chain([1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX]) {
            let at = counter(micros);
            assert!(at >= before && highest(at) >= micros, "{micros}");
            assert!(highest(at) - micros <= micros / 8, "{micros}");
            before = at;
        }
    }
}
