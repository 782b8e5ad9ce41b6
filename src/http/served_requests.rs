//! What this gateway has served recently, as the other gateways of a fleet hear of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_traffic::health::{Outcome, Samples, Summary};
use tokio::time::Instant;

use super::account::AccountView;
use super::problem::Problem;
use super::problem_kind::ProblemKind;
use tidegate_model::RegionId;

/// The requests that were served here, whoever they came from.
#[derive(Debug)]
pub struct ServedRequests {
    began: Instant,
    samples: Mutex<Samples>,
}

impl Default for ServedRequests {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            samples: Mutex::default(),
        }
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
        self.samples().add(outcome, time, self.began.elapsed());
    }

    /// Counts an answer from memory, which takes no time beside the others.
    pub(super) fn add_hit(&self) {
        let now = self.began.elapsed();
        self.samples().add(Outcome::Served, Duration::ZERO, now);
    }

    /// Counts the requests of the window that ends now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.samples().summary(self.began.elapsed())
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        // A panic while the lock is held loses a sample at worst.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_probe_whose_time_has_run_out_says_nothing_of_the_region() {
        assert_eq!(counted(true, ProblemKind::Deadline), (0, 0));
        assert_eq!(counted(false, ProblemKind::Deadline), (1, 1));
        assert_eq!(counted(true, ProblemKind::NoNode), (1, 1));
    }
}
