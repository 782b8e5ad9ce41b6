//! The result of a selector, for all readers.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::BreakerState;

/// The candidates, best first, with their standings. Immutable; a selector makes new ones.
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
    /// Its standing.
    pub standing: Standing,
    /// The state of its breaker.
    pub breaker: BreakerState,
    /// Its average latency; the initial estimate before the first sample.
    pub latency: Duration,
    /// When its standing may change by itself: a probe becomes due, or probation ends.
    pub changes_at: Option<Instant>,
}

/// Whether a candidate can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Trusted,
    /// It works again but may fail again: it comes after all that are trusted.
    OnProbation,
    /// It failed, and one request may find out whether it works again.
    ProbeDue,
    /// It failed, or is being probed.
    Failed,
    /// An operator has drained it.
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

/// Candidates to try, one after the other.
pub type Choice = SmallVec<[usize; 8]>;

impl Ranking {
    /// Returns the eligible candidates in the order in which to try them: those that are trusted,
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

    /// Returns the candidates for which [`Selector::claim_probe`](super::Selector::claim_probe) may
    /// succeed, best first.
    pub fn probes_due(&self) -> impl Iterator<Item = usize> {
        let due = |it: &&Ranked| it.standing == Standing::ProbeDue;
        self.best_first.iter().filter(due).map(|it| it.candidate)
    }

    /// Returns all candidates, best first, regardless of their standing.
    pub fn best_first(&self) -> &[Ranked] {
        &self.best_first
    }

    /// Returns a candidate's entry.
    ///
    /// # Panics
    /// If the selector has no such candidate.
    pub fn of(&self, candidate: usize) -> &Ranked {
        let mut ranked = self.best_first.iter();
        ranked
            .find(|it| it.candidate == candidate)
            .expect("a ranking has all of its selector's candidates")
    }

    /// Returns when the selector should make a new one.
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }
}
