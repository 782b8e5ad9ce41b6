//! Asks the nodes, in the order of one plan, until one answers.
//!
//! A safe request goes on to the next step when a node fails, as far as the node's retry budget
//! goes; an unsafe one has a single step, and once its statement was sent it is never sent again.

use std::iter::Peekable;
use std::sync::Arc;

use tokio::time::Instant;

use super::answer::Timing;
use super::run::{Outcome, Run};
use super::step::Try;
use crate::postgres::monitor::Knowledge;
use crate::sql::SqlError;
use tidegate_policy::Decision;
use tidegate_policy::{Plan, Reason, Step};
use tidegate_steering::Ranking;
use tidegate_telemetry::names;

/// One plan's worth of a request: everything in it is judged by what was known at one moment.
pub(super) struct Attempt<'a> {
    pub(super) run: &'a Run<'a>,
    /// With the token expressed in terms of `known`.
    pub(super) decision: Decision,
    pub(super) known: Arc<Knowledge>,
    pub(super) ranking: Arc<Ranking>,
}

/// What is left of a plan.
pub(super) type Steps = Peekable<<Plan as IntoIterator>::IntoIter>;

/// Why a plan gave no answer.
pub(super) enum AttemptError {
    /// The client gets this.
    Final(SqlError),
    /// The client gets this unless there is a better plan: nothing was written.
    NothingDone(SqlError),
}

/// Why a step gave no answer.
pub(super) enum StepError {
    /// The node cannot prove what the request needs; the next step has its own reason.
    Unproven,
    /// The node was not asked, for others need it more; the next step has its own reason.
    Refused(SqlError),
    /// The node failed and has done nothing; the next step may not.
    Next(SqlError),
    /// The client gets this.
    Final(SqlError),
}

impl Attempt<'_> {
    /// Tries step after step; `timing` collects where the time went, failed steps included.
    pub(super) async fn follow_plan(&self, timing: &mut Timing) -> Result<Outcome, AttemptError> {
        let Run { services, safe, .. } = self.run;
        let plan = services.plan(&self.decision, *safe, &self.known, &self.ranking);
        let mut steps = plan.into_iter().peekable();
        if let Some(first) = steps.peek() {
            services.second_tries[first.node].sent();
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
                Err(StepError::Final(problem)) => return Err(AttemptError::Final(problem)),
                Err(StepError::Unproven) => {}
                Err(StepError::Refused(problem)) => refused = Some(problem),
                Err(StepError::Next(problem)) => {
                    tracing::debug!(node = %self.node(&step).id, %problem, "passed over a node");
                    let go_on = steps.peek().is_some() && self.may_try_again(&step);
                    failed = Some(problem);
                    if !go_on {
                        break;
                    }
                }
            }
        }
        let problem = refused.or(failed).unwrap_or_else(|| self.nobody());
        Err(AttemptError::NothingDone(problem))
    }

    fn may_try_again(&self, failed: &Step) -> bool {
        let granted = self.is_granted(failed);
        if granted {
            let label = self.node(failed).id.to_string();
            metrics::counter!(names::RETRIES, "node" => label).increment(1);
        }
        granted
    }

    /// Takes a second try out of the budget of a node that failed or is slow.
    pub(super) fn is_granted(&self, step: &Step) -> bool {
        let granted = self.run.services.second_tries[step.node].grant(Instant::now());
        if !granted {
            let label = self.node(step).id.to_string();
            metrics::counter!(names::RETRY_BUDGET_SPENT, "node" => label).increment(1);
        }
        granted
    }
}
