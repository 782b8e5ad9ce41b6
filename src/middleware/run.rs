//! Asks the nodes, in the order of the plan, until one answers.
//!
//! A safe request goes on to the next step when a node fails; an unsafe one has a single step, and
//! once its statement was sent it is never sent again.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::Services;
use super::answer::{Served, Timing};
use crate::consistency::{Level, Lsn, RequestToken, WalPosition};
use crate::error::Problem;
use crate::policy::Decision;
use crate::pool::{Lease, Node};
use crate::replication::{Condition, NodeStatus};
use crate::routing::{NodeView, Plan, Reason, Step, plan};
use crate::target::sql::{self, Answer, Argument, Failure, FailureKind, SqlTarget};
use crate::telemetry::names;

/// How long a statement may be unanswered before one missed sample of its node counts. With the
/// sample's own timeout of a second a frozen node costs a read less than two seconds; a slow
/// statement on a node that answers its monitor is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// One request, ready to be sent to a node.
pub(super) struct Run<'a> {
    pub(super) services: &'a Services,
    pub(super) target: &'a SqlTarget,
    pub(super) decision: &'a Decision,
    pub(super) arguments: &'a [Argument<'a>],
    /// Whether the method is safe, so that the request may be sent again.
    pub(super) safe: bool,
    /// When the client gets a `deadline` problem instead of an answer.
    pub(super) deadline: Instant,
}

/// An answer and how it came about.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) served: Served,
    /// The position the client has now seen, if the answer is to carry a token.
    pub(super) seen: Option<WalPosition>,
}

/// Why a step gave no answer.
enum StepError {
    /// The node cannot prove what the request needs; the next step has its own reason.
    Unproven,
    /// The node failed; the next step may not.
    Next(Problem),
    /// The client gets this.
    Final(Problem),
}

/// Why a node gave no answer.
enum AskError {
    /// The statement failed, and every answer to it was read.
    Failed(Failure),
    /// The deadline passed.
    Deadline,
    /// The monitor lost the node meanwhile.
    Lost,
}

impl Run<'_> {
    /// Tries step after step; `timing` collects where the time went, failed steps included.
    pub(super) async fn run(&self, timing: &mut Timing) -> Result<Outcome, Problem> {
        let mut last = None;
        for step in self.plan() {
            let reason = if last.is_some() {
                Reason::Retry
            } else {
                step.reason
            };
            match self.step(&step, reason, timing).await {
                Ok(outcome) => return Ok(outcome),
                Err(StepError::Final(problem)) => return Err(problem),
                Err(StepError::Unproven) => {}
                Err(StepError::Next(problem)) => {
                    tracing::debug!(node = %self.node(&step).id, %problem, "passed over a node");
                    last = Some(problem);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.nobody()))
    }

    fn plan(&self) -> Plan {
        let nodes = &self.services.nodes;
        let statuses: SmallVec<[_; 4]> = nodes.iter().map(|node| self.status(node)).collect();
        let views: SmallVec<[_; 4]> = nodes
            .iter()
            .zip(&statuses)
            .map(|(node, status)| NodeView {
                id: &node.id,
                status,
            })
            .collect();
        plan(self.decision, self.safe, &views, Instant::now())
    }

    async fn step(
        &self,
        step: &Step,
        reason: Reason,
        timing: &mut Timing,
    ) -> Result<Outcome, StepError> {
        let node = self.node(step);
        let started = Instant::now();
        let ready = self.wait_and_lease(node, step).await;
        timing.wait += started.elapsed();
        let lease = ready?;
        let status = self.status(node);
        let current = status.identity == Some(lease.life());
        if !self.is_proven(step, &status, current) {
            lease.settle();
            return Err(StepError::Unproven);
        }
        let started = Instant::now();
        let answer = self.ask(node, lease).await;
        timing.db += started.elapsed();
        let answer = answer.map_err(|error| self.judge(node, error))?;
        self.outcome(node, &status, current, reason, answer)
    }

    /// Waits for the step's position, if it has one, and for a connection.
    async fn wait_and_lease(&self, node: &Node, step: &Step) -> Result<Lease, StepError> {
        if let Some(lsn) = step.wait_for
            && !self.reaches(node, lsn).await
        {
            return Err(StepError::Unproven);
        }
        match timeout_at(self.deadline, node.lease()).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) if node.id.is_primary() && error.is_unreachable() => {
                tracing::debug!(%error, "no connection to the primary");
                Err(StepError::Next(self.nobody()))
            }
            Ok(Err(error)) => Err(StepError::Next(Problem::Pool(error))),
            Err(_elapsed) => Err(StepError::Final(Problem::Deadline)),
        }
    }

    /// Whether a node replays a position within `session_wait`.
    async fn reaches(&self, node: &Node, lsn: Lsn) -> bool {
        let at_last = |status: &NodeStatus| status.position.is_some_and(|at| at.lsn >= lsn);
        let started = Instant::now();
        let reached = self.services.monitor.wait_for(&node.id, at_last);
        let reached = timeout(self.services.consistency.session_wait, reached).await;
        metrics::histogram!(names::SESSION_WAIT).record(started.elapsed().as_secs_f64());
        reached.is_ok()
    }

    /// Whether the newest sample, if it speaks of the life we are connected to, still proves what
    /// the step needs: time has passed since the plan.
    fn is_proven(&self, step: &Step, status: &NodeStatus, current: bool) -> bool {
        let Decision {
            consistency, token, ..
        } = self.decision;
        let within = |bound| {
            status
                .staleness(Instant::now())
                .is_some_and(|age| age <= bound)
        };
        let reached = |token: &WalPosition| {
            status
                .position
                .is_some_and(|at| at.timeline == token.timeline && at.lsn >= token.lsn)
        };
        match step.reason {
            Reason::WithinBound | Reason::TokenReached | Reason::Waited => {
                current
                    && consistency.max_staleness.is_none_or(within)
                    && match token {
                        RequestToken::Verified(token) => reached(token),
                        RequestToken::None | RequestToken::Unverifiable => true,
                    }
            }
            Reason::Fresh
            | Reason::Strong
            | Reason::Write
            | Reason::NoReplica
            | Reason::ReplicaLagging
            | Reason::ReplicaDown
            | Reason::BoundUnproven
            | Reason::TokenBehind
            | Reason::TokenUnverifiable
            | Reason::Retry => true,
        }
    }

    /// Sends the statement and reads its answer; a lease that is given up here closes its
    /// connection.
    async fn ask(&self, node: &Node, lease: Lease) -> Result<Answer, AskError> {
        let statement = &self.target.statement;
        let sent = async {
            if self.safe {
                sql::read(
                    lease.client(),
                    statement,
                    self.arguments,
                    self.wants_position(),
                )
                .await
            } else {
                sql::write(lease.client(), statement, self.arguments).await
            }
        };
        tokio::select! {
            biased;
            answer = timeout_at(self.deadline, sent) => {
                let answer = answer.map_err(|_elapsed| AskError::Deadline)?;
                lease.settle();
                answer.map_err(AskError::Failed)
            }
            () = self.lost(node) => Err(AskError::Lost),
        }
    }

    /// Ends when the monitor loses a node, or misses one sample of it while the statement is out
    /// for longer than [`PATIENCE`]; a write is awaited to its deadline all the same.
    async fn lost(&self, node: &Node) {
        let mut watch = self.services.monitor.watch(&node.id);
        let mut patient = watch.clone();
        let unreachable = watch.wait_for(|status| status.condition == Condition::Unreachable);
        let silent = async {
            sleep(PATIENCE).await;
            patient.wait_for(|status| status.missed).await.is_ok()
        };
        let lost = async {
            tokio::select! {
                lost = unreachable => lost.is_ok(),
                lost = silent => lost,
            }
        };
        if !(self.safe && lost.await) {
            std::future::pending::<()>().await;
        }
    }

    /// What a node's failure means for the request.
    fn judge(&self, node: &Node, error: AskError) -> StepError {
        match error {
            AskError::Failed(failure) => self.judge_failure(node, failure),
            AskError::Deadline if self.safe => StepError::Final(Problem::Deadline),
            AskError::Deadline => StepError::Final(Problem::OutcomeUnknown(None)),
            AskError::Lost => StepError::Next(self.nobody()),
        }
    }

    fn judge_failure(&self, node: &Node, failure: Failure) -> StepError {
        match failure.kind {
            FailureKind::Unavailable if !self.safe && failure.sent => {
                StepError::Final(Problem::OutcomeUnknown(Some(failure)))
            }
            FailureKind::Unavailable if self.decision.consistency.level == Level::Strong => {
                StepError::Next(Problem::NoPrimary)
            }
            FailureKind::Unavailable if self.safe => StepError::Next(Problem::Statement(failure)),
            // Nothing writes on a replica but recovery: the next node has no such conflict. On the
            // primary it is another transaction that won, and the client's to try again.
            FailureKind::Collision if self.safe && !node.id.is_primary() => {
                StepError::Next(Problem::Statement(failure))
            }
            _ => StepError::Final(Problem::Statement(failure)),
        }
    }

    fn outcome(
        &self,
        node: &Node,
        status: &NodeStatus,
        current: bool,
        reason: Reason,
        answer: Answer,
    ) -> Result<Outcome, StepError> {
        let in_recovery = answer
            .position
            .is_some_and(|position| position.timeline.is_none());
        if node.id.is_primary() && in_recovery {
            tracing::error!("DATABASE_URL leads to a server in recovery: it is not the primary");
            return Err(StepError::Final(Problem::NoPrimary));
        }
        let staleness = if node.id.is_primary() {
            Some(Duration::ZERO)
        } else {
            status.staleness(Instant::now()).filter(|_| current)
        };
        let served = Served {
            node: node.id.clone(),
            node_region: node.region.clone(),
            reason,
            staleness,
        };
        let seen = self.seen(status, &answer);
        Ok(Outcome {
            answer,
            served,
            seen,
        })
    }

    /// The newer of what the request had seen and what this answer showed.
    fn seen(&self, status: &NodeStatus, answer: &Answer) -> Option<WalPosition> {
        let (position, known) = (answer.position?, status.position?);
        let shown = WalPosition {
            system: known.system,
            timeline: position.timeline.unwrap_or(known.timeline),
            lsn: position.lsn,
        };
        match self.decision.token {
            RequestToken::Verified(token)
                if (token.system, token.timeline) == (shown.system, shown.timeline) =>
            {
                Some(WalPosition {
                    lsn: token.lsn.max(shown.lsn),
                    ..shown
                })
            }
            RequestToken::Verified(_) | RequestToken::Unverifiable | RequestToken::None => {
                Some(shown)
            }
        }
    }

    /// An answer carries a token unless it is eventual, or may be kept by shared caches.
    fn wants_position(&self) -> bool {
        let eventual = self.decision.consistency.level == Level::Eventual;
        !self.decision.shared_cacheable && (!eventual || self.decision.token.is_present())
    }

    /// The problem when there is nobody to ask.
    fn nobody(&self) -> Problem {
        match self.decision.consistency.level {
            Level::Strong => Problem::NoPrimary,
            Level::Session | Level::Bounded | Level::Eventual => Problem::NoNode,
        }
    }

    fn node(&self, step: &Step) -> &Node {
        &self.services.nodes[step.node]
    }

    fn status(&self, node: &Node) -> Arc<NodeStatus> {
        self.services.monitor.status(&node.id)
    }
}
