//! How late the machine lets this process run: what a busy gateway adds to the time of every answer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep_until};

/// How long a probe sleeps. Timers are a millisecond late at most by themselves.
const PROBE: Duration = Duration::from_millis(10);
const TIMER: Duration = Duration::from_millis(1);

/// A probe contributes a quarter to the mean.
const WEIGHT: u32 = 4;

/// Older probes say nothing about now.
const FRESH: Duration = Duration::from_secs(1);

/// The mean delay of recent probes.
#[derive(Debug, Clone, Default)]
pub(super) struct Lateness(Arc<Mutex<Probes>>);

#[derive(Debug, Default)]
struct Probes {
    mean: Duration,
    ended: Option<Instant>,
    is_under_way: bool,
}

impl Lateness {
    /// Returns the mean; nothing where no recent probe has shown it.
    pub(super) fn mean(&self, now: Instant) -> Duration {
        self.with(|probes| probes.mean_at(now))
    }

    /// Starts a probe, unless one is under way.
    pub(super) fn probe(&self) {
        if self.with(|probes| std::mem::replace(&mut probes.is_under_way, true)) {
            return;
        }
        let lateness = self.clone();
        let due = Instant::now() + PROBE;
        tokio::spawn(async move {
            sleep_until(due).await;
            let late = due.elapsed().saturating_sub(TIMER);
            lateness.with(|probes| probes.add(late, Instant::now()));
        });
    }

    fn with<T>(&self, access: impl FnOnce(&mut Probes) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Probes {
    fn mean_at(&self, now: Instant) -> Duration {
        let is_fresh = |ended: Instant| now.saturating_duration_since(ended) < FRESH;
        match self.ended.is_some_and(is_fresh) {
            true => self.mean,
            false => Duration::ZERO,
        }
    }

    fn add(&mut self, late: Duration, now: Instant) {
        let mean = self.mean_at(now);
        self.mean = mean - mean / WEIGHT + late / WEIGHT;
        self.ended = Some(now);
        self.is_under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn probes_that_are_late_are_counted_for_a_second_and_then_forgotten() {
        let (mut probes, mut now) = (Probes::default(), Instant::now());
        for _ in 0..40 {
            now += 20 * MS;
            probes.add(12 * MS, now);
        }
        assert!((11 * MS..=12 * MS).contains(&probes.mean_at(now)));
        assert_eq!(probes.mean_at(now + FRESH), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_shows_a_process_that_did_not_run() {
        let lateness = Lateness::default();
        (0..3).for_each(|_| lateness.probe());
        tokio::task::yield_now().await;
        tokio::time::advance(PROBE + 41 * MS).await;
        tokio::task::yield_now().await;
        assert_eq!(lateness.mean(Instant::now()), 10 * MS);
    }
}
