//! What a selector has come to, for everybody to read.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::BreakerState;

/// The candidates, best first, as they stand. It does not change; a selector makes new ones.
#[derive(Clone, Debug)]
pub struct Ranking {
    pub(super) best_first: Vec<Ranked>,
    pub(super) valid_until: Instant,
}

/// One candidate in a ranking.
#[derive(Clone, Copy, Debug)]
pub struct Ranked {
    /// Its index among the selector's candidates.
    pub candidate: usize,
    /// What it is good for.
    pub standing: Standing,
    /// The state of its breaker.
    pub breaker: BreakerState,
    /// Its average latency; the estimate it started with before the first sample.
    pub latency: Duration,
    /// When its standing may change by itself: a probe falls due, or probation is over.
    pub changes_at: Option<Instant>,
}

/// What a candidate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Trusted,
    /// It works again, but has to show for how long: it comes after all that are trusted.
    OnProbation,
    /// It failed, and one request may find out whether it works again.
    ProbeDue,
    /// It failed, or is being probed.
    Failed,
    /// An operator has taken it out.
    Drained,
}

impl Standing {
    /// Returns the name in `/admin/topology`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::OnProbation => "on-probation",
            Self::ProbeDue => "probe-due",
            Self::Failed => "failed",
            Self::Drained => "drained",
        }
    }
}

/// Candidates to ask, one after the other.
pub type Choice = SmallVec<[usize; 8]>;

impl Ranking {
    /// Returns the eligible candidates in the order in which to ask them: those that are trusted,
    /// then those on probation. If there is neither, all whose breakers are open: a choice that may
    /// fail is better than none. Never those that are drained.
    pub fn choose(&self, eligible: impl Fn(usize) -> bool) -> Choice {
        let with = |standings: &'static [Standing]| {
            let eligible = &eligible;
            self.best_first
                .iter()
                .filter(move |it| standings.contains(&it.standing) && eligible(it.candidate))
                .map(|it| it.candidate)
        };
        let mut choice: Choice = with(&[Standing::Trusted]).collect();
        choice.extend(with(&[Standing::OnProbation]));
        if choice.is_empty() {
            choice.extend(with(&[Standing::ProbeDue, Standing::Failed]));
        }
        choice
    }

    /// Returns a candidate of which [`Selector::claim_probe`](super::Selector::claim_probe) may be
    /// asked.
    pub fn probe_due(&self) -> Option<usize> {
        let due = |it: &&Ranked| it.standing == Standing::ProbeDue;
        self.best_first.iter().find(due).map(|it| it.candidate)
    }

    /// Returns all candidates, best first, whatever their standing.
    pub fn best_first(&self) -> &[Ranked] {
        &self.best_first
    }

    /// Returns how a candidate stands.
    ///
    /// # Panics
    /// When the selector has no such candidate.
    pub fn of(&self, candidate: usize) -> &Ranked {
        let mut ranked = self.best_first.iter();
        ranked
            .find(|it| it.candidate == candidate)
            .expect("a ranking has all of its selector's candidates")
    }

    /// Returns when the selector should be asked for a new one.
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }
}
