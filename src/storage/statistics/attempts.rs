//! Attempts at one bucket, by all of this gateway's requests and probes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_telemetry::names;
use tokio::time::Instant;

use super::times::Times;

/// Parts of the last minute.
const SLOTS: usize = 6;
const SLOT: Duration = Duration::from_secs(10);

/// What came of the attempts.
pub(in crate::storage) struct Attempts {
    counts: Mutex<Counts>,
    began: Instant,
    answered: metrics::Counter,
    failed: metrics::Counter,
}

#[derive(Default)]
struct Counts {
    /// Since the last batch.
    batch: AttemptBatch,
    /// The last minute, in parts; the number is that of the part since the beginning.
    slots: [(u64, Outcomes); SLOTS],
}

/// Attempts since the last batch.
#[derive(Default)]
pub(in crate::storage) struct AttemptBatch {
    pub(in crate::storage) times: Times,
    pub(in crate::storage) outcomes: Outcomes,
}

/// How many attempts there were, and how many of them failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::storage) struct Outcomes {
    pub(in crate::storage) requests: u64,
    pub(in crate::storage) errors: u64,
}

impl Outcomes {
    fn add(&mut self, has_failed: bool) {
        self.requests += 1;
        self.errors += u64::from(has_failed);
    }

    /// Whether so many failed that the bucket cannot be relied on: 5 % and more.
    pub(in crate::storage) fn are_bad(self) -> bool {
        self.errors > 0 && self.errors * 20 >= self.requests
    }
}

impl std::ops::Add for Outcomes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            errors: self.errors + other.errors,
        }
    }
}

impl Attempts {
    pub(in crate::storage) fn new(bucket: &str, now: Instant) -> Self {
        let counter = |outcome: &'static str| {
            let bucket = bucket.to_owned();
            metrics::counter!(names::STORAGE_REQUESTS, "bucket" => bucket, "outcome" => outcome)
        };
        Self {
            counts: Mutex::default(),
            began: now,
            answered: counter("answered"),
            failed: counter("failed"),
        }
    }

    /// Notes an attempt, and how long its answer took, if that says something about the bucket.
    pub(in crate::storage) fn add(
        &self,
        has_failed: bool,
        latency: Option<Duration>,
        now: Instant,
    ) {
        match has_failed {
            true => self.failed.increment(1),
            false => self.answered.increment(1),
        }
        let number = self.slot(now);
        let mut counts = self.counts();
        counts.batch.outcomes.add(has_failed);
        if let Some(latency) = latency {
            counts.batch.times.add(latency);
        }
        let slot = counts.slot(number);
        if slot.0 != number {
            *slot = (number, Outcomes::default());
        }
        slot.1.add(has_failed);
    }

    /// The attempts of the last minute.
    pub(in crate::storage) fn last_minute(&self, now: Instant) -> Outcomes {
        let number = self.slot(now);
        let counts = self.counts();
        let recent = counts
            .slots
            .iter()
            .filter(|(it, _)| it + (SLOTS as u64) > number);
        recent.fold(Outcomes::default(), |all, (_, outcomes)| all + *outcomes)
    }

    /// Takes what has come together since the last batch.
    pub(in crate::storage) fn take(&self) -> AttemptBatch {
        std::mem::take(&mut self.counts().batch)
    }

    fn slot(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / SLOT.as_secs()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic while the lock is held loses a count at worst.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn slot(&mut self, number: u64) -> &mut (u64, Outcomes) {
        let at = usize::try_from(number % (SLOTS as u64)).unwrap_or_default();
        &mut self.slots[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_of_the_last_minute_and_a_batch_of_all_since_the_last_one() {
        let now = Instant::now();
        let attempts = Attempts::new("bucket", now);
        let after = |seconds| now + Duration::from_secs(seconds);
        for second in 0..100 {
            attempts.add(second < 30, Some(Duration::from_millis(5)), after(second));
        }
        let minute = attempts.last_minute(after(99));
        assert_eq!((minute.requests, minute.errors), (60, 0));
        assert_eq!(attempts.last_minute(after(300)), Outcomes::default());
        let batch = attempts.take();
        assert_eq!((batch.outcomes.requests, batch.outcomes.errors), (100, 30));
        assert_eq!(batch.times.count(), 100);
        assert_eq!(attempts.take().outcomes, Outcomes::default());
    }

    #[test]
    fn one_failed_attempt_in_twenty_is_bad() {
        let bad = |requests, errors| Outcomes { requests, errors }.are_bad();
        assert!(bad(20, 1) && bad(1, 1) && !bad(21, 1) && !bad(0, 0));
    }
}
