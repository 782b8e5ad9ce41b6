//! A selector for many threads: written by the sources of reports, read by every request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::{AttemptOutcome, Ranking, Selector, Standing};

/// Publishes the ranking of one selector, so that reading it takes no lock.
#[derive(Debug)]
pub struct SharedSelector {
    selector: Mutex<Selector>,
    ranking: arc_swap::ArcSwap<Ranking>,
    moved: watch::Sender<()>,
}

impl SharedSelector {
    /// Publishes a first ranking.
    pub fn new(mut selector: Selector, now: Instant) -> Self {
        Self {
            ranking: arc_swap::ArcSwap::from_pointee(selector.ranking(now)),
            selector: Mutex::new(selector),
            moved: watch::Sender::new(()),
        }
    }

    /// Returns the ranking, recomputed if it has expired and no other thread is recomputing it.
    pub fn ranking(&self, now: Instant) -> Arc<Ranking> {
        let ranking = self.ranking.load_full();
        if now < ranking.valid_until() {
            return ranking;
        }
        match self.try_lock() {
            Some(mut selector) => self.publish(&mut selector, now),
            None => ranking,
        }
    }

    /// Returns a receiver of every ranking that was made because of an event.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Like [`Selector::report`]. An answer may go unreported while another is being reported.
    pub fn report(
        &self,
        index: usize,
        outcome: AttemptOutcome,
        latency: Option<Duration>,
        now: Instant,
    ) {
        let selector = match outcome {
            AttemptOutcome::Answered if latency.is_none() => self.try_lock(),
            AttemptOutcome::Answered | AttemptOutcome::Failed => Some(self.lock()),
        };
        let Some(mut selector) = selector else { return };
        if selector.report(index, outcome, latency, now) {
            self.announce(&mut selector, now);
        }
    }

    /// Like [`Selector::lose`].
    pub fn lose(&self, index: usize, now: Instant) {
        let mut selector = self.lock();
        if selector.lose(index, now) {
            self.announce(&mut selector, now);
        }
    }

    /// Like [`Selector::drain`].
    pub fn drain(&self, index: usize, drained: bool, now: Instant) {
        let mut selector = self.lock();
        selector.drain(index, drained);
        self.announce(&mut selector, now);
    }

    /// Like [`Selector::latency`].
    pub fn latency(&self, index: usize) -> Duration {
        self.lock().latency(index)
    }

    /// Like [`Selector::claim_probe`]; takes no lock while no probe is due.
    pub fn claim_probe(&self, index: usize, now: Instant) -> bool {
        if self.ranking(now).of(index).standing != Standing::ProbeDue {
            return false;
        }
        let mut selector = self.lock();
        let claimed = selector.claim_probe(index, now);
        if claimed {
            self.publish(&mut selector, now);
        }
        claimed
    }

    fn announce(&self, selector: &mut Selector, now: Instant) {
        self.publish(selector, now);
        self.moved.send_replace(());
    }

    fn publish(&self, selector: &mut Selector, now: Instant) -> Arc<Ranking> {
        let ranking = Arc::new(selector.ranking(now));
        self.ranking.store(Arc::clone(&ranking));
        ranking
    }

    /// At worst, a panic while the lock is held loses a report.
    fn lock(&self) -> MutexGuard<'_, Selector> {
        self.selector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Selector>> {
        match self.selector.try_lock() {
            Ok(selector) => Some(selector),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SteeringSettings;

    const MS: Duration = Duration::from_millis(1);

    fn shared() -> (SharedSelector, Instant) {
        let now = Instant::now();
        let selector = Selector::new(SteeringSettings::default(), 0, &[MS, 80 * MS], now);
        (SharedSelector::new(selector, now), now)
    }

    fn first(shared: &SharedSelector, now: Instant) -> Option<usize> {
        shared.ranking(now).choose(|_| true).first().copied()
    }

    #[test]
    fn what_moves_a_breaker_is_published_and_announced_at_once() {
        let (shared, now) = shared();
        let mut watch = shared.watch();
        shared.report(0, AttemptOutcome::Failed, None, now);
        assert!(!watch.has_changed().unwrap());
        shared.lose(0, now);
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        assert_eq!(first(&shared, now), Some(1));
        shared.drain(1, true, now);
        assert!(watch.has_changed().unwrap());
        assert_eq!(first(&shared, now), Some(0));
    }

    #[test]
    fn a_latency_is_the_newest_though_the_ranking_is_kept() {
        let (shared, now) = shared();
        shared.report(1, AttemptOutcome::Answered, Some(20 * MS), now);
        assert_eq!(shared.latency(1), 20 * MS);
        assert_eq!(shared.ranking(now).of(1).latency, 80 * MS);
    }

    #[test]
    fn of_several_probes_that_are_due_each_is_granted() {
        let (shared, now) = shared();
        shared.lose(0, now);
        shared.lose(1, now);
        let both_due = now + Duration::from_secs(1);
        assert!(shared.claim_probe(1, both_due));
        assert!(shared.claim_probe(0, both_due));
    }

    #[test]
    fn a_probe_is_granted_when_its_time_has_come_and_once() {
        let (shared, now) = shared();
        shared.lose(0, now);
        assert!(!shared.claim_probe(0, now));
        let due = shared.ranking(now).valid_until();
        assert!(shared.claim_probe(0, due));
        assert!(!shared.claim_probe(0, due));
    }
}
