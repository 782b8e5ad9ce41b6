//! The recent latency of a node.

use std::time::Duration;

use tokio::time::Instant;

/// Time after which a sample has lost about two thirds of its weight: as in Finagle's balancer,
/// long enough that single slow answers matter little.
const DECAY: Duration = Duration::from_secs(10);

/// An average in which old samples fade by their age, not by the number that followed: a
/// continuous-time exponentially weighted moving average, as in Finagle's and linkerd's balancers,
/// but without their preference for peaks, which would turn single slow answers into switches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyAverage(Option<(f64, Instant)>);

impl LatencyAverage {
    pub(super) fn add(&mut self, latency: Duration, now: Instant) {
        let latency = latency.as_secs_f64();
        let average = match self.0 {
            None => latency,
            Some((average, at)) => {
                let age = now.saturating_duration_since(at).as_secs_f64();
                let kept = (-age / DECAY.as_secs_f64()).exp();
                latency.mul_add(1.0 - kept, average * kept)
            }
        };
        self.0 = Some((average, now));
    }

    /// `None` before the first sample.
    pub(super) fn get(&self) -> Option<Duration> {
        self.0
            .map(|(average, _)| Duration::from_secs_f64(average.max(0.0)))
    }
}

/// Buckets of [`RecentLatencies`]: from 64 µs on, four to each doubling, up to 4.5 minutes.
const BUCKETS: usize = 88;
const FIRST_US: f64 = 64.0;
const BUCKETS_PER_DOUBLING: f64 = 4.0;

/// Time after which counts are halved.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// Time without an answer after which nothing is left of those before.
const FADED: Duration = Duration::from_secs(60);

/// Fewest answers from which a quantile is computed.
const SAMPLES_MIN: u64 = 20;

/// The distribution of recent latencies: a histogram whose counts fade. Buckets grow by a fifth
/// each, so a quantile is at most that much too high.
#[derive(Clone, Debug)]
pub struct RecentLatencies {
    counts: [u64; BUCKETS],
    total: u64,
    halved_at: Instant,
}

impl RecentLatencies {
    /// Starts without any answer.
    pub fn new(now: Instant) -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            halved_at: now,
        }
    }

    /// Adds one answer.
    pub fn add(&mut self, latency: Duration, now: Instant) {
        if now.saturating_duration_since(self.halved_at) >= HALF_LIFE {
            self.halved_at = now;
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
        self.counts[bucket(latency)] += 1;
        self.total += 1;
    }

    /// Returns how many answers count.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Returns an upper bound on a quantile (from 0 to 1) of the recent latencies; `None` while
    /// there are too few.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        if self.total < SAMPLES_MIN {
            return None;
        }
        let wanted = part.clamp(0.0, 1.0) * self.total as f64;
        let mut seen = 0;
        let index = self.counts.iter().position(|&count| {
            seen += count;
            seen > 0 && seen as f64 >= wanted
        })?;
        Some(upper_bound(index))
    }

    /// The same of a node that is perhaps not asked any more; `None` also if its answers have faded.
    pub fn quantile_at(&self, part: f64, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.halved_at);
        self.quantile(part).filter(|_| age < FADED)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the buckets"
)]
fn bucket(latency: Duration) -> usize {
    let doublings = (latency.as_secs_f64() * 1e6 / FIRST_US).log2();
    let index = (doublings * BUCKETS_PER_DOUBLING).ceil();
    index.clamp(0.0, (BUCKETS - 1) as f64) as usize
}

fn upper_bound(bucket: usize) -> Duration {
    let doublings = bucket as f64 / BUCKETS_PER_DOUBLING;
    Duration::from_secs_f64(FIRST_US * doublings.exp2() / 1e6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn answers_fade_also_when_no_other_follows() {
        let now = Instant::now();
        let mut recent = RecentLatencies::new(now);
        for _ in 0..50 {
            recent.add(MS, now);
        }
        assert!(recent.quantile_at(0.95, now + FADED / 2).is_some());
        assert_eq!(recent.quantile_at(0.95, now + FADED), None);
    }

    #[test]
    fn the_first_sample_is_the_average_and_later_ones_count_by_the_time_between() {
        let start = Instant::now();
        let mut average = LatencyAverage::default();
        assert_eq!(average.get(), None);
        average.add(100 * MS, start);
        assert_eq!(average.get(), Some(100 * MS));
        for _ in 0..1_000 {
            average.add(900 * MS, start);
        }
        assert_eq!(average.get(), Some(100 * MS), "a burst is one moment");
        average.add(Duration::ZERO, start + DECAY);
        let kept = average.get().unwrap();
        assert!(kept > 36 * MS && kept < 37 * MS, "{kept:?}");
    }

    #[test]
    fn a_quantile_needs_samples_and_forgets_old_ones() {
        let start = Instant::now();
        let mut recent = RecentLatencies::new(start);
        for _ in 1..SAMPLES_MIN {
            recent.add(MS, start);
        }
        assert_eq!(recent.quantile(0.5), None);
        for _ in 0..100 {
            recent.add(MS, start);
        }
        for count in 0..12 {
            recent.add(1_000 * MS, start + count * HALF_LIFE);
        }
        assert!(recent.quantile(0.5).is_none_or(|it| it > 900 * MS));
    }

    proptest! {
        #[test]
        fn a_quantile_is_above_its_part_by_a_fifth_at_most(
            mut micros in prop::collection::vec(100_u64..10_000_000, 20..200),
            part in 0.01..1.0_f64,
        ) {
            let now = Instant::now();
            let mut recent = RecentLatencies::new(now);
            for &sample in &micros {
                recent.add(Duration::from_micros(sample), now);
            }
            micros.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let rank = (part * micros.len() as f64).ceil().max(1.0) as usize;
            let exact = micros[rank - 1] as f64;
            let found = recent.quantile(part).unwrap().as_secs_f64() * 1e6;
            prop_assert!(found >= exact * 0.999 && found <= exact * 1.2, "{found} for {exact}");
        }

        #[test]
        fn an_average_stays_between_its_samples(
            samples in prop::collection::vec((0_u64..5_000, 0_u64..60_000), 1..50),
        ) {
            let mut now = Instant::now();
            let mut average = LatencyAverage::default();
            for (latency, pause) in &samples {
                now += Duration::from_millis(*pause);
                average.add(Duration::from_millis(*latency), now);
            }
            let (least, most) = samples.iter().fold((u64::MAX, 0), |(least, most), (it, _)| {
                (least.min(*it), most.max(*it))
            });
            let found = average.get().unwrap();
            prop_assert!(found + MS >= Duration::from_millis(least));
            prop_assert!(found <= Duration::from_millis(most) + MS);
        }
    }
}
