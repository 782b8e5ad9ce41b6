//! Twelve bytes that say how a gateway is.

use std::sync::LazyLock;
use std::time::Duration;

use tidegate_traffic::health::Summary;

use crate::dropped::Dropped;

const BYTES: usize = 12;

/// A byte that moves by this much has changed.
const STEPS: u8 = 2;

/// The window's unit, and how many of them it has.
const FIFTH: Duration = Duration::from_millis(200);
const WINDOW_MIN: u8 = 10;
const WINDOW_MAX: u8 = 150;

const PERCENT_MAX: u8 = 100;

/// What a step of the logarithmic scale is more than the one before.
const STEP: f64 = 1.05;

static VALUES: LazyLock<[f64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| match byte {
        0 => 0.0,
        byte => STEP.powi(byte as i32 - 1),
    })
});

/// The quantities of one gateway, each in a byte: see `health.proto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; BYTES]);

impl Digest {
    /// The parts above each of [`Self::points`].
    pub(crate) const SHARES: [f64; 6] = [0.5, 0.1, 0.05, 0.02, 0.01, 0.005];

    /// Makes a digest; a lag of `None` is one that is not known.
    pub fn new(served: &Summary, saturation_pct: u8, lag: Option<Duration>) -> Self {
        let fifths = served.window.div_duration_f64(FIFTH).ceil();
        let times = served.points;
        let [p50, p90, p95, p98, p99, p995] =
            times.map(|time| logarithmic(time.as_secs_f64() * 10_000.0));
        Self([
            (fifths as u8).clamp(WINDOW_MIN, WINDOW_MAX),
            logarithmic(served.requests as f64),
            logarithmic((served.failed + served.no_primary) as f64),
            logarithmic(served.no_primary as f64),
            p50,
            p90,
            p95,
            p98,
            p99,
            p995,
            saturation_pct.min(PERCENT_MAX),
            lag.map_or(u8::MAX, |lag| logarithmic(lag.as_secs_f64() * 1_000.0)),
        ])
    }

    /// Takes what a peer sent; further bytes are ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Dropped> {
        let bytes = bytes.first_chunk::<BYTES>().ok_or(Dropped::Range)?;
        let digest = Self(*bytes);
        if digest.saturation_pct() > PERCENT_MAX {
            return Err(Dropped::Range);
        }
        Ok(digest)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether a quantity is two steps away from what it is in another digest.
    pub(crate) fn has_moved_from(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.any(|(a, b)| a.abs_diff(*b) >= STEPS)
    }

    /// Returns how many requests there were in the window.
    pub fn requests(&self) -> f64 {
        VALUES[usize::from(self.0[1])]
    }

    /// Returns what is served in a second.
    pub fn rate(&self) -> f64 {
        self.requests() / self.window_secs()
    }

    /// Returns what fails in a second, with what fails for want of a primary or without.
    pub(crate) fn error_rate(&self, with_no_primary: bool) -> f64 {
        let [all, no_primary] = [self.0[2], self.0[3]].map(|byte| VALUES[usize::from(byte)]);
        let without = if with_no_primary { 0.0 } else { no_primary };
        (all - without).max(0.0) / self.window_secs()
    }

    /// Returns the time to the head at p50, p90, p95, p98, p99 and p99.5, in microseconds.
    pub(crate) fn points(&self) -> [u64; 6] {
        std::array::from_fn(|at| (VALUES[usize::from(self.0[4 + at])] * 100.0) as u64)
    }

    /// Returns how busy the busiest of its pools and limits is.
    pub fn saturation_pct(&self) -> u8 {
        self.0[10]
    }

    /// Returns its replica's lag; `None` when that is not known.
    pub fn lag(&self) -> Option<Duration> {
        let lag = self.0[11];
        (lag < u8::MAX).then(|| Duration::from_secs_f64(VALUES[usize::from(lag)] / 1_000.0))
    }

    fn window_secs(&self) -> f64 {
        f64::from(self.0[0].clamp(WINDOW_MIN, WINDOW_MAX)) * FIFTH.as_secs_f64()
    }
}

/// Returns the step that is nearest to a value.
fn logarithmic(value: f64) -> u8 {
    if value <= 0.0 {
        return 0;
    }
    let step = (value.max(1.0).ln() / STEP.ln()).round();
    1 + step.min(f64::from(u8::MAX - 1)) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_step_of_the_scale_is_its_own_nearest() {
        for byte in 0..=u8::MAX {
            assert_eq!(logarithmic(VALUES[usize::from(byte)]), byte);
        }
    }

    #[test]
    fn what_is_too_short_or_outside_its_range_is_dropped_and_further_bytes_are_not() {
        let parsed = |bytes: &[u8]| Digest::parse(bytes);
        assert_eq!(parsed(&[0; 11]), Err(Dropped::Range));
        let mut long = [7; 40];
        assert_eq!(parsed(&long), Ok(Digest([7; BYTES])));
        long[10] = 101;
        assert_eq!(parsed(&long), Err(Dropped::Range));
    }

    #[test]
    fn the_last_step_is_a_lag_that_is_not_known() {
        let lag = |lag| Digest::new(&Summary::default(), 0, lag).lag();
        assert_eq!(lag(None), None);
        assert_eq!(lag(Some(Duration::from_secs(3_600))), None);
        assert_eq!(lag(Some(Duration::ZERO)), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn counts_and_times_are_kept_to_a_fortieth(requests in 1u64..200_000, micros in 100u64..20_000_000) {
            let summary = Summary {
                window: Duration::from_secs(2),
                requests,
                points: [Duration::from_micros(micros); 6],
                ..Summary::default()
            };
            let digest = Digest::new(&summary, 0, None);
            let apart = |kept: f64, exact: f64| (kept - exact).abs() / exact;
            prop_assert!(apart(digest.requests(), requests as f64) < 0.025);
            prop_assert!(apart(digest.points()[4] as f64, micros as f64) < 0.026);
        }
    }
}
