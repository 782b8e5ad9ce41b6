//! One node of a plan: waits for what it needs, asks it, and reports how it did.

use std::sync::atomic::AtomicBool;

use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::answer::Timing;
use super::ask::{AskError, Asked, Loan};
use super::attempt::{Attempt, StepError};
use super::go_again::Connection;
use super::places::Place;
use super::proof;
use super::run::Outcome;
use crate::error::Problem;
use crate::postgres::pool::{Lease, Node};
use crate::sql::{Answer, FailureKind, Pace};
use tidegate_model::NodeStatus;
use tidegate_model::{Level, Lsn};
use tidegate_policy::{Reason, Step};
use tidegate_telemetry::names;

/// One step as it is tried.
pub(super) struct Try {
    pub(super) step: Step,
    pub(super) reason: Reason,
    /// Whether another node has answered first, so that the answer of this one is not waited for.
    pub(super) beaten: AtomicBool,
}

impl Try {
    pub(super) fn new(step: Step, reason: Reason) -> Self {
        Self {
            step,
            reason,
            beaten: AtomicBool::new(false),
        }
    }
}

impl Attempt<'_> {
    /// Asks one node. Its breaker and the endpoint's latencies hear of it.
    pub(super) async fn step(
        &self,
        tried: &Try,
        timing: &mut Timing,
    ) -> Result<Outcome, StepError> {
        let step = &tried.step;
        let _room = self.room(step)?;
        let started = Instant::now();
        if let Some(lsn) = step.wait_for
            && !self.reaches(self.node(step), lsn).await
        {
            timing.wait += started.elapsed();
            return Err(StepError::Unproven);
        }
        timing.wait += started.elapsed();
        let waited = Instant::now();
        let mut connection = match self.run.target.quickness.of(step.node) {
            _ if !self.run.safe => Connection::Alone,
            Pace::Quick => Connection::Shared,
            Pace::Moderate => Connection::Free,
            Pace::Slow => Connection::Alone,
        };
        loop {
            let started = Instant::now();
            let lease = self.lease(step, connection).await;
            timing.wait += started.elapsed();
            let lease = lease?;
            let asked = self.asked(tried, &lease);
            if !self.is_proven(&asked) {
                lease.settle();
                return Err(StepError::Unproven);
            }
            let started = Instant::now();
            let loan = Loan::new(lease, &tried.beaten);
            let answer = self.ask(&asked, loan).await;
            timing.db += started.elapsed();
            let trouble = answer.as_ref().err().and_then(AskError::trouble);
            let again = trouble.and_then(|it| connection.after(it, self.run.safe));
            if let Some(again) = again {
                tracing::debug!(node = %asked.node.id, ?trouble, "asking on another connection");
                connection = again;
                continue;
            }
            self.report(step, &answer);
            if answer.is_ok() {
                self.note_latency(step, waited.elapsed());
            }
            let answer = answer.map_err(|error| self.judge(&asked, error))?;
            return self.outcome(&asked, answer);
        }
    }

    fn asked(&self, tried: &Try, lease: &Lease) -> Asked<'_> {
        let (step, node) = (&tried.step, self.node(&tried.step));
        let status = self.run.services.monitor.status(&node.id);
        Asked {
            node,
            index: step.node,
            as_primary: step.as_primary,
            reason: tried.reason,
            current: status.identity == Some(lease.life()),
            status,
        }
    }

    /// Leaves room on the primary for those whom nobody else can serve.
    fn room(&self, step: &Step) -> Result<Option<Place<'_>>, StepError> {
        match self.is_spill(step) {
            false => Ok(None),
            true => match self.run.services.spill.enter() {
                Some(room) => Ok(Some(room)),
                None => Err(StepError::Refused(Problem::SpillBudget)),
            },
        }
    }

    /// Whether the primary is asked in place of a nearer replica.
    pub(super) fn is_spill(&self, step: &Step) -> bool {
        let strong = self.decision.consistency.level == Level::Strong;
        // Nodes are listed by distance: before the first there is none.
        self.run.safe && !strong && step.as_primary && step.node > 0
    }

    /// Waits for a connection.
    async fn lease(&self, step: &Step, connection: Connection) -> Result<Lease, StepError> {
        let (node, deadline) = (self.node(step), self.run.deadline);
        let leased = async {
            match connection {
                Connection::Shared => node.share(deadline).await,
                Connection::Free => node.lease_free_or_share(deadline).await,
                Connection::Alone | Connection::Another => node.lease(deadline).await,
                Connection::Checked => Box::pin(node.lease_checked(deadline)).await,
            }
        };
        let leased = timeout_at(deadline, leased).await;
        let error = match leased {
            Ok(Ok(lease)) => return Ok(lease),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(StepError::Final(Problem::Deadline)),
        };
        if !error.is_unreachable() {
            return Err(StepError::Next(Problem::Pool(error)));
        }
        self.report_failure(step);
        tracing::debug!(%error, "no connection");
        Err(StepError::Next(match step.as_primary {
            true => self.nobody(),
            false => Problem::Pool(error),
        }))
    }

    /// Reports how a node did. Errors that the statement or the client caused are answers.
    fn report(&self, step: &Step, answer: &Result<Answer, AskError>) {
        let failed = match answer {
            Ok(_) => false,
            Err(AskError::Failed(failure)) => failure.kind == FailureKind::Unavailable,
            Err(AskError::Deadline) => true,
            // The monitor has reported it, or will; or it is nobody's fault.
            Err(AskError::Lost | AskError::OtherRole | AskError::HeldUp) => return,
        };
        match failed {
            true => self.report_failure(step),
            false => {
                let answered = tidegate_steering::Outcome::Answered;
                let selector = &self.run.services.selector;
                selector.report(step.node, answered, None, Instant::now());
            }
        }
    }

    fn report_failure(&self, step: &Step) {
        let failed = tidegate_steering::Outcome::Failed;
        let selector = &self.run.services.selector;
        selector.report(step.node, failed, None, Instant::now());
    }

    /// Remembers how long an answer took.
    fn note_latency(&self, step: &Step, latency: Duration) {
        let latencies = &self.run.target.latencies;
        latencies.add(step.node, latency, Instant::now());
    }

    /// Whether a node replays a position within `session_wait`.
    async fn reaches(&self, node: &Node, lsn: Lsn) -> bool {
        let services = self.run.services;
        let at_last = |status: &NodeStatus| status.position.is_some_and(|at| at.lsn >= lsn);
        let started = Instant::now();
        let reached = services.monitor.wait_for(&node.id, at_last);
        let reached = timeout(services.consistency.session_wait, reached).await;
        metrics::histogram!(names::SESSION_WAIT).record(started.elapsed().as_secs_f64());
        reached.is_ok()
    }

    /// Whether the newest sample, if it speaks of the life we are connected to, still proves what
    /// the step needs: time has passed since the plan.
    fn is_proven(&self, asked: &Asked<'_>) -> bool {
        asked.as_primary == asked.status.acts_as_primary
            && (asked.as_primary
                || proof::may_be_asked(&self.decision, asked.known(), Instant::now()))
    }

    /// The problem when there is nobody to ask.
    pub(super) fn nobody(&self) -> Problem {
        match self.decision.consistency.level {
            Level::Strong => Problem::NoPrimary,
            Level::Session | Level::Bounded | Level::Eventual => Problem::NoNode,
        }
    }

    pub(super) fn node(&self, step: &Step) -> &Node {
        &self.run.services.nodes[step.node]
    }
}
