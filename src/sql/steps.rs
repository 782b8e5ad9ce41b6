//! Plans a request and attempts the nodes, in the order of the plan, until one answers; plans once more
//! if a promotion was seen meanwhile.
//!
//! A safe request continues with the next step when a node fails, as far as the node's retry budget
//! allows, and is also sent to the next node when one is slow; the first good answer counts. The delay
//! follows the endpoint's recent answers on that node, so hedges stay rare while nothing is wrong. An
//! unsafe request has a single step, and once its statement has been sent it is never sent again.

use std::iter::Peekable;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::SqlError;
use super::attempt::Attempt;
use super::hedge::{is_good, of_two};
use super::planned::{PlannedRequest, StepError, StepResult, Try};
use super::request::{SqlOutcome, SqlRequest};
use super::spans::{attempt_span, describe_attempt};
use crate::http::Timing;
use crate::postgres::monitor::Knowledge;
use tidegate_model::RequestToken;
use tidegate_policy::{Decision, NodePlan, Reason, Step};
use tidegate_steering::{Race, RaceEvent, Standing, Turn, Won};

/// Most plans for one request: promotions are rare, so the second plan has the new primary if it is
/// known at all.
const PLANS_MAX: usize = 2;

/// The least delay, in round trips to the node, while its answers are unknown.
const ROUND_TRIPS_UNKNOWN: u32 = 3;
/// The least delay in that case, for a near node.
const DELAY_UNKNOWN: Duration = Duration::from_millis(150);

/// The remaining steps of a plan.
type Steps = Peekable<<NodePlan as IntoIterator>::IntoIter>;

/// Why a plan gave no answer.
pub(super) enum PlanError {
    /// The client gets this.
    Final(SqlError),
    /// The client gets this unless another plan succeeds: nothing was written.
    NothingDone(SqlError),
}

impl SqlRequest<'_> {
    /// Makes a plan and follows it; `timing` collects where the time went, failed steps included.
    ///
    /// Boxed: it is large, and requests that are answered from memory should not carry it around.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn answer<'a>(
        &'a self,
        timing: &'a mut Timing,
    ) -> BoxFuture<'a, Result<SqlOutcome, SqlError>> {
        Box::pin(self.follow_plans(timing))
    }

    async fn follow_plans(&self, timing: &mut Timing) -> Result<SqlOutcome, SqlError> {
        let mut plans = 1;
        loop {
            let known = self.database.monitor.knowledge();
            let planned = self.plan(Arc::clone(&known))?;
            match planned.follow(timing).await {
                Ok(outcome) => return Ok(outcome),
                Err(PlanError::Final(error)) => return Err(error),
                Err(PlanError::NothingDone(error)) => {
                    let now = self.database.monitor.knowledge();
                    if plans == PLANS_MAX || known.is_about_same_primary(&now) {
                        return Err(error);
                    }
                    plans += 1;
                }
            }
        }
    }

    /// Makes a plan from what is known now, and judges the token by it.
    fn plan(&self, known: Arc<Knowledge>) -> Result<PlannedRequest<'_>, SqlError> {
        let lineage = known.lineage.as_deref();
        let token = self.decision.token.at_present(lineage)?;
        if let (RequestToken::Verified(token), Some(lineage)) = (token, lineage)
            && token.system == lineage.present().0
            && Some(token.timeline) > known.timeline
        {
            // Another gateway has seen a promotion.
            self.database.monitor.doubt_all();
        }
        let decision = Decision {
            token,
            ..self.decision.clone()
        };
        Ok(PlannedRequest {
            request: self,
            decision,
            known,
            ranking: self.database.selector.ranking(Instant::now()),
        })
    }
}

impl PlannedRequest<'_> {
    /// Tries step after step; `timing` collects where the time went, failed steps included.
    pub(super) async fn follow(&self, timing: &mut Timing) -> Result<SqlOutcome, PlanError> {
        let SqlRequest { database, safe, .. } = self.request;
        let mut plan = database.plan(&self.decision, *safe, &self.known, &self.ranking);
        if let Some(route) = self.request.route {
            database.prefer(&mut plan, route, &self.ranking);
        }
        let mut steps = plan.into_iter().peekable();
        if let Some(first) = steps.peek() {
            self.member(first).second_tries.sent();
        }
        let (mut failed, mut refused) = (None, None);
        while let Some(step) = steps.next() {
            let reason = match &failed {
                Some(_) => Reason::Retry,
                None => step.reason,
            };
            match self
                .hedged(Try::new(step, reason), &mut steps, timing)
                .await
            {
                Ok(outcome) => return Ok(outcome),
                Err(StepError::Final(error)) => return Err(PlanError::Final(error)),
                Err(StepError::Unproven) => {}
                Err(StepError::Refused(error)) => refused = Some(error),
                Err(StepError::Next(error)) => {
                    let member = self.member(&step);
                    tracing::debug!(node = %member.name, problem = %error, "passed over a node");
                    let go_on = steps.peek().is_some() && member.grants_second_try();
                    failed = Some(error);
                    if !go_on {
                        break;
                    }
                    member.count_retry();
                }
            }
        }
        let error = refused.or(failed).unwrap_or_else(|| self.no_node());
        Err(PlanError::NothingDone(error))
    }

    /// Attempts one node, and the next of the plan too if the first is slow.
    async fn hedged(&self, first: Try, rest: &mut Steps, timing: &mut Timing) -> StepResult {
        let second = OnceLock::new();
        let mut race = Race::default();
        race.enter(first.step.node, Turn::First, self.attempt(&first));
        if rest.peek().is_some_and(|next| self.may_hedge_to(next)) {
            race.hedge_after(self.hedge_delay(&first.step));
        }
        let (mut of_first, mut of_second) = (Timing::default(), Timing::default());
        let mut failed = None;
        let (won, end) = loop {
            match race.next().await {
                RaceEvent::Slow => match self.second_step(&first.step, rest) {
                    Some(next) => {
                        let second = second.get_or_init(|| Try::new(next, Reason::Hedge));
                        race.enter(next.node, Turn::Hedge, self.attempt(second));
                    }
                    // The node may be known to have failed by then.
                    None => race.hedge_after(self.hedge_delay(&first.step)),
                },
                RaceEvent::Ended(entrant, (took, end)) => {
                    let turn = entrant.turn;
                    match turn {
                        Turn::First | Turn::Retry => of_first = took,
                        Turn::Hedge => of_second = took,
                    }
                    match failed.take() {
                        Some(earlier) => break of_two(earlier, turn, end),
                        None if race.entrants().is_empty() || is_good(&end) => {
                            break (Won::by(turn), end);
                        }
                        None => failed = Some(end),
                    }
                }
            }
        };
        if let Some(second) = second.get() {
            self.account(&first, second, won);
        }
        timing.add(match won {
            Won::First => &of_first,
            Won::Second | Won::Neither => &of_second,
        });
        end
    }

    async fn attempt(&self, tried: &Try) -> (Timing, StepResult) {
        let mut timing = Timing::default();
        let attempt = Attempt {
            planned: self,
            tried,
        };
        let mut span = attempt_span(&self.member(&tried.step).name, tried.reason);
        let end = span.around(attempt.run(&mut timing)).await;
        describe_attempt(&mut span, &end);
        (timing, end)
    }

    /// Whether a node may get a hedge, whose answer may not be needed.
    fn may_hedge_to(&self, next: &Step) -> bool {
        let standing = self.ranking.of(next.node).standing;
        self.request.safe
            && next.wait_for.is_none()
            && matches!(standing, Standing::Trusted | Standing::OnProbation)
            && (!self.is_spill(next) || self.has_spill_room(next))
    }

    fn has_spill_room(&self, step: &Step) -> bool {
        let connections_max = self.member(step).node.connections_max();
        let spill = &self.request.database.spill;
        let mut kinds = self.first_lease(step).or_shared();
        kinds.any(|kind| spill.has_room(self.spill_share(step, kind), connections_max))
    }

    fn hedge_delay(&self, step: &Step) -> Duration {
        let known = self.request.target.latencies.hedge_delay(step.node);
        let delay = known.unwrap_or_else(|| {
            let round_trip = self.ranking.of(step.node).latency;
            DELAY_UNKNOWN.max(round_trip * ROUND_TRIPS_UNKNOWN)
        });
        match step.wait_for {
            Some(_) => self.request.database.session_wait() + delay,
            None => delay,
        }
    }

    /// Takes the next step of the plan, if the slow node's budget allows it. A node that has failed
    /// since gets no more requests, so those that still wait for it add no load.
    fn second_step(&self, slow: &Step, rest: &mut Steps) -> Option<Step> {
        self.request.database.probes.probe(slow.node);
        let ranking = self.request.database.selector.ranking(Instant::now());
        let standing = ranking.of(slow.node).standing;
        let failed = matches!(standing, Standing::Failed | Standing::ProbeDue);
        rest.next_if(|_| failed || self.member(slow).grants_second_try())
    }

    /// Marks the loser, whose connection remains usable.
    fn account(&self, first: &Try, second: &Try, won: Won) {
        match won {
            Won::First => second.beaten.store(true, Ordering::Relaxed),
            // How long it would have taken is unknown. Counting it as slow would delay the hedges of
            // a frozen node; the budget ensures that a slow one is awaited again.
            Won::Second => first.beaten.store(true, Ordering::Relaxed),
            Won::Neither => {}
        }
        self.member(&first.step).count_hedge(won);
    }
}
