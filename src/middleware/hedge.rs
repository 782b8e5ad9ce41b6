//! A slow safe read is asked of the next node as well; the first good answer counts.
//!
//! The delay follows the endpoint's recent answers on that node, so hedges stay rare while nothing
//! is wrong, and the node's retry budget bounds them when everything is slow.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::sleep;

use super::answer::Timing;
use super::attempt::{Attempt, StepError, Steps};
use super::run::Outcome;
use super::step::Try;
use tidegate_policy::{Reason, Step};
use tidegate_steering::Standing;
use tidegate_telemetry::names;

/// The least delay, in round trips to the node, while its answers are unknown.
const ROUND_TRIPS_UNKNOWN: u32 = 3;
/// The delay then, if it is near.
const DELAY_UNKNOWN: Duration = Duration::from_millis(150);

type Answered = Result<Outcome, StepError>;

/// Which of two nodes answered.
#[derive(Clone, Copy)]
pub(super) enum Won {
    First,
    Second,
    Neither,
}

impl Won {
    pub(super) const ALL: [Self; 3] = [Self::First, Self::Second, Self::Neither];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Neither => "neither",
        }
    }
}

impl Attempt<'_> {
    /// Asks one node, and the next of the plan too if the first is slow.
    pub(super) async fn hedged(
        &self,
        first: Try,
        rest: &mut Steps,
        timing: &mut Timing,
    ) -> Answered {
        let delay = rest.peek().filter(|next| self.may_hedge_to(next));
        let delay = delay.map(|_| self.hedge_delay(&first.step));
        let slow = async {
            match delay {
                Some(delay) => sleep(delay).await,
                None => pending().await,
            }
        };
        let (mut of_first, mut of_second) = (Timing::default(), Timing::default());
        let (won, answered) = {
            let mut asked = pin!(self.step(&first, &mut of_first));
            tokio::select! {
                biased;
                answered = &mut asked => (Won::First, answered),
                () = slow => match self.second_try(&first.step, rest) {
                    None => (Won::First, asked.await),
                    Some(second) => {
                        let hedge = Box::pin(self.step(&second, &mut of_second));
                        let (won, answered) = first_good(asked.as_mut(), hedge).await;
                        self.account(&first, &second, won);
                        (won, answered)
                    }
                },
            }
        };
        timing.add(match won {
            Won::First => &of_first,
            Won::Second | Won::Neither => &of_second,
        });
        answered
    }

    /// Whether a node is one to ask for an answer that may come without it.
    fn may_hedge_to(&self, next: &Step) -> bool {
        let standing = self.ranking.of(next.node).standing;
        self.run.safe
            && next.wait_for.is_none()
            && matches!(standing, Standing::Trusted | Standing::OnProbation)
            && (!self.is_spill(next) || self.run.services.spill.has_room())
    }

    fn hedge_delay(&self, step: &Step) -> Duration {
        let known = self.run.target.latencies.hedge_delay(step.node);
        let delay = known.unwrap_or_else(|| {
            let round_trip = self.ranking.of(step.node).latency;
            DELAY_UNKNOWN.max(round_trip * ROUND_TRIPS_UNKNOWN)
        });
        match step.wait_for {
            Some(_) => self.run.services.consistency.session_wait + delay,
            None => delay,
        }
    }

    /// Takes the next step of the plan, if the slow node's budget allows it.
    fn second_try(&self, slow: &Step, rest: &mut Steps) -> Option<Try> {
        let services = self.run.services;
        services.suspicion.suspect(slow.node);
        let next = rest.next_if(|_| self.is_granted(slow))?;
        Some(Try::new(next, Reason::Hedge))
    }

    /// Tells the loser that its connection is fine.
    fn account(&self, first: &Try, second: &Try, won: Won) {
        match won {
            Won::First => second.beaten.store(true, Ordering::Relaxed),
            // How long it would have taken is not known. Taking it for slow would put off the hedges
            // of a frozen node; the budget sees to it that a slow one is waited for again.
            Won::Second => first.beaten.store(true, Ordering::Relaxed),
            Won::Neither => {}
        }
        let label = self.node(&first.step).id.to_string();
        metrics::counter!(names::HEDGES, "node" => label, "won" => won.as_str()).increment(1);
    }
}

/// Waits for the first answer that the client can have. The other is dropped with its future.
async fn first_good(
    first: impl Future<Output = Answered> + Unpin,
    second: impl Future<Output = Answered> + Unpin,
) -> (Won, Answered) {
    match select(first, second).await {
        Either::Left((answered, _)) if is_good(&answered) => (Won::First, answered),
        Either::Right((answered, _)) if is_good(&answered) => (Won::Second, answered),
        Either::Left((failed, second)) => either(failed, second.await, Won::Second),
        Either::Right((failed, first)) => either(failed, first.await, Won::First),
    }
}

/// Of two that were both awaited: the later if it is good, else a failure rather than a refusal.
fn either(failed: Answered, later: Answered, who: Won) -> (Won, Answered) {
    match (&failed, is_good(&later)) {
        (_, true) => (who, later),
        (Err(StepError::Next(_)), false) => (Won::Neither, failed),
        (_, false) => (Won::Neither, later),
    }
}

fn is_good(answered: &Answered) -> bool {
    matches!(answered, Ok(_) | Err(StepError::Final(_)))
}
