//! What this gateway has served recently, as the other gateways of a fleet hear of it.

use std::array;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_traffic::health::{Outcome, Samples, Summary};
use tokio::time::Instant;

use super::account::AccountView;
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use tidegate_model::RegionId;
use tidegate_telemetry::{STRIPES, stripe_of_this_thread};

/// Most samples of a thread that wait to be counted with the others.
const WAITING_MAX: usize = 128;

/// The requests that were served here, whoever they came from.
///
/// Each thread notes them for itself, and they are counted together when a summary is made or a thread has noted
/// many, so that requests do not wait for each other.
#[derive(Debug)]
pub struct ServedRequests {
    began: Instant,
    samples: Mutex<Samples>,
    waiting: [Waiting; STRIPES],
}

/// The samples of one thread. On cache lines of its own; two, because they are fetched in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Waiting(Mutex<Vec<Sample>>);

#[derive(Debug)]
struct Sample {
    outcome: Outcome,
    time: Duration,
    ended: Duration,
}

impl Default for ServedRequests {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            samples: Mutex::default(),
            waiting: array::from_fn(|_| Waiting::default()),
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<Sample>> {
        // A panic while the lock is held loses a sample at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServedRequests {
    /// Counts a request; one that another region has served, or none, does not count.
    ///
    /// Nor does a probe whose time has run out. The gateway that has sent it counts that as seen by itself: a
    /// path that hangs, which one gateway asks for again and again, must not speak for the region.
    pub(super) fn add(
        &self,
        own: &RegionId,
        (status, is_probe): (u16, bool),
        account: &AccountView<'_>,
        problem: Option<&Problem>,
    ) {
        let region = account.routed.map(|routed| routed.region.as_ref());
        let elsewhere = region.is_some_and(|region| region != Some(own));
        let Some(timing) = account.timing.filter(|_| !elsewhere && !account.handed_on) else {
            return;
        };
        let outcome = match problem.map(Problem::kind) {
            Some(ProblemKind::Deadline) if is_probe => return,
            Some(ProblemKind::NoPrimary) => Outcome::NoPrimary,
            _ if status >= 500 => Outcome::Failed,
            _ => Outcome::Served,
        };
        let time = timing.route + timing.wait + timing.db + timing.upstream;
        let time = time.saturating_sub(timing.upload);
        self.note(outcome, time);
    }

    /// Counts an answer from memory, which takes no time beside the others.
    pub(super) fn add_hit(&self) {
        self.note(Outcome::Served, Duration::ZERO);
    }

    fn note(&self, outcome: Outcome, time: Duration) {
        let ended = self.began.elapsed();
        let mut waiting = self.waiting[stripe_of_this_thread()].lock();
        waiting.push(Sample {
            outcome,
            time,
            ended,
        });
        let are_many = waiting.len() >= WAITING_MAX;
        drop(waiting);
        if are_many {
            drop(self.samples());
        }
    }

    /// Counts the requests of the window that ends now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.samples().summary(self.began.elapsed())
    }

    /// The samples of all threads, counted in the order in which their requests ended.
    fn samples(&self) -> MutexGuard<'_, Samples> {
        // A panic while the lock is held loses samples at worst.
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = Vec::new();
        for part in &self.waiting {
            waiting.append(&mut part.lock());
        }
        waiting.sort_by_key(|sample| sample.ended);
        for sample in waiting {
            samples.add(sample.outcome, sample.time, sample.ended);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::account::Timing;

    /// Returns the requests and failures that are counted of one that ends with a problem.
    fn counted(is_probe: bool, kind: ProblemKind) -> (u64, u64) {
        let served = ServedRequests::default();
        let account = AccountView {
            timing: Some(Timing::default()),
            ..AccountView::default()
        };
        let problem = Problem::new(kind, "x");
        let status = problem.status().as_u16();
        let own = "eu-west-1".parse().unwrap();
        served.add(&own, (status, is_probe), &account, Some(&problem));
        let summary = served.summary();
        (summary.requests, summary.failed)
    }

    #[test]
    fn what_all_threads_have_served_is_in_the_summary() {
        let served = ServedRequests::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..WAITING_MAX + 7).for_each(|_| served.add_hit()));
            }
        });
        let all = 4 * (WAITING_MAX as u64 + 7);
        assert_eq!(
            (served.summary().requests, served.summary().requests),
            (all, all)
        );
    }

    #[test]
    fn a_probe_whose_time_has_run_out_says_nothing_of_the_region() {
        assert_eq!(counted(true, ProblemKind::Deadline), (0, 0));
        assert_eq!(counted(false, ProblemKind::Deadline), (1, 1));
        assert_eq!(counted(true, ProblemKind::NoNode), (1, 1));
    }
}
