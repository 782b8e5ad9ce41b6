//! Reports in, ranking out.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::latency::LatencyAverage;
use crate::order::Order;
use crate::ranking::Ranked;
use crate::{BreakerState, Ranking, Standing, SteeringSettings};

/// Chooses among candidates of one kind, which are known by their indices.
#[derive(Clone, Debug)]
pub struct Selector {
    settings: SteeringSettings,
    candidates: Vec<Candidate>,
    order: Order,
}

/// The outcome of a request to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It answered; an error that the client caused does not count against it.
    Answered,
    /// It did not answer, or answered that it cannot serve.
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    latency: LatencyAverage,
    /// Its latency until the first sample.
    estimate: Duration,
    breaker: Breaker,
    /// It is trusted again if it does not fail until then.
    probation_until: Option<Instant>,
    drained: bool,
}

impl Selector {
    /// Starts with the latencies that are expected of the candidates, best first: distance is all
    /// that is known before the first report. The seed makes its pauses differ from every other's.
    pub fn new(
        settings: SteeringSettings,
        seed: u64,
        estimates: &[Duration],
        now: Instant,
    ) -> Self {
        let candidate = |(index, &estimate): (usize, &Duration)| Candidate {
            latency: LatencyAverage::default(),
            estimate,
            breaker: Breaker::new(now, seed.wrapping_add((index as u64) << 32)),
            probation_until: None,
            drained: false,
        };
        Self {
            candidates: estimates.iter().enumerate().map(candidate).collect(),
            order: Order::new(estimates.len()),
            settings,
        }
    }

    /// Records an outcome, and how long it took if that can be compared with other candidates'
    /// times. Returns whether the breaker moved, which requires a new ranking.
    pub fn report(
        &mut self,
        index: usize,
        outcome: AttemptOutcome,
        latency: Option<Duration>,
        now: Instant,
    ) -> bool {
        let candidate = &mut self.candidates[index];
        let before = candidate.breaker.state(now);
        match outcome {
            AttemptOutcome::Answered => candidate.breaker.succeed(now),
            AttemptOutcome::Failed => candidate.breaker.fail(now),
        }
        candidate.note(before, outcome, self.settings.dwell / 2, now);
        let moved = candidate.breaker.state(now) != before;
        if let Some(latency) = latency {
            candidate.latency.add(latency, now);
            let latencies: smallvec::SmallVec<[_; 8]> =
                self.candidates.iter().map(Candidate::latency).collect();
            self.order.compare(index, &latencies, now);
        }
        moved
    }

    /// Records that a candidate is known to be gone: its breaker opens at once. Returns whether it
    /// moved.
    pub fn lose(&mut self, index: usize, now: Instant) -> bool {
        let candidate = &mut self.candidates[index];
        let before = candidate.breaker.state(now);
        candidate.breaker.trip(now);
        candidate.breaker.state(now) != before
    }

    /// Drains or undrains a candidate at an operator's request.
    pub fn drain(&mut self, index: usize, drained: bool) {
        self.candidates[index].drained = drained;
    }

    /// Grants the one request that probes whether a candidate works again, if one is due. Its
    /// outcome must be reported; if it never is, another is granted after a while.
    pub fn claim_probe(&mut self, index: usize, now: Instant) -> bool {
        self.candidates[index].breaker.claim_probe(now)
    }

    /// Returns a candidate's average latency; a ranking may be older.
    pub fn latency(&self, index: usize) -> Duration {
        self.candidates[index].latency()
    }

    /// Makes a ranking. The same reports at the same times give the same one in every process,
    /// except for the random part of a breaker's pause.
    pub fn ranking(&mut self, now: Instant) -> Ranking {
        self.order.remake(self.settings.dwell, now);
        for candidate in &mut self.candidates {
            candidate.end_probation(now);
        }
        let changes = self.candidates.iter().filter_map(Candidate::changes_at);
        let changes = changes.filter(|&at| at > now);
        let valid_until = changes.fold(now + self.settings.ranking_ttl, Instant::min);
        let ranked = |&index: &usize| self.candidates[index].ranked(index, now);
        Ranking {
            best_first: self.order.best_first().iter().map(ranked).collect(),
            valid_until,
        }
    }
}

impl Candidate {
    fn latency(&self) -> Duration {
        self.latency.get().unwrap_or(self.estimate)
    }

    /// Puts it on probation when its breaker closes, and for longer with every failure.
    fn note(
        &mut self,
        before: BreakerState,
        outcome: AttemptOutcome,
        probation: Duration,
        now: Instant,
    ) {
        let closed = self.breaker.state(now) == BreakerState::Closed;
        let recovered = closed && before != BreakerState::Closed;
        let failed_again = self.probation_until.is_some() && outcome == AttemptOutcome::Failed;
        if recovered || failed_again {
            self.probation_until = Some(now + probation);
        }
    }

    fn end_probation(&mut self, now: Instant) {
        let over = self.probation_until.is_some_and(|until| now >= until);
        if over && self.breaker.state(now) == BreakerState::Closed {
            self.probation_until = None;
            self.breaker.trust();
        }
    }

    /// When a candidate's standing changes by itself.
    fn changes_at(&self) -> Option<Instant> {
        self.breaker.changes_at().or(self.probation_until)
    }

    fn ranked(&self, index: usize, now: Instant) -> Ranked {
        let breaker = self.breaker.state(now);
        let standing = match breaker {
            _ if self.drained => Standing::Drained,
            BreakerState::Closed if self.probation_until.is_some() => Standing::OnProbation,
            BreakerState::Closed => Standing::Trusted,
            BreakerState::HalfOpen if self.breaker.is_probe_due(now) => Standing::ProbeDue,
            BreakerState::Open | BreakerState::HalfOpen => Standing::Failed,
        };
        Ranked {
            candidate: index,
            standing,
            breaker,
            latency: self.latency(),
            changes_at: self.changes_at().filter(|&at| at > now),
        }
    }
}

#[cfg(test)]
mod tests;
