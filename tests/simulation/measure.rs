//! The measurements of requests.

/// How long a client waits; a failed request counts as this long.
pub(crate) const GIVEN_UP_MS: f64 = 10_000.0;

/// Buckets are one percent wide, from a millisecond on.
const WIDTH: f64 = 1.01;
const BUCKETS: usize = 960;

/// The requests of some clients over some time.
pub(crate) struct Tally {
    pub(crate) requests: u64,
    failed: u64,
    at_home: u64,
    buckets: Vec<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: 0,
            failed: 0,
            at_home: 0,
            buckets: vec![0; BUCKETS],
        }
    }
}

impl Tally {
    /// Counts a request that was answered after a time, or not at all.
    pub(crate) fn add(&mut self, answered_ms: Option<f64>, at_home: bool) {
        self.requests += 1;
        self.failed += u64::from(answered_ms.is_none());
        self.at_home += u64::from(answered_ms.is_some() && at_home);
        let time = answered_ms.unwrap_or(GIVEN_UP_MS).max(1.0);
        let bucket = (time.ln() / WIDTH.ln()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
    }

    pub(crate) fn availability(&self) -> f64 {
        1.0 - self.failed as f64 / self.requests as f64
    }

    /// Returns the share of answers that came from the nearest region.
    pub(crate) fn locality(&self) -> f64 {
        self.at_home as f64 / (self.requests - self.failed).max(1) as f64
    }

    /// Returns a percentile in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (self.requests as f64 * percent / 100.0).ceil() as u64;
        let mut below = 0;
        let found = self.buckets.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        WIDTH.powi(found.unwrap_or(BUCKETS) as i32 + 1)
    }
}
