//! Asks the nodes, in the order of one plan, until one answers.
//!
//! A safe request goes on to the next step when a node fails; an unsafe one has a single step, and
//! once its statement was sent it is never sent again.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::answer::Timing;
use super::run::{Outcome, Run};
use crate::consistency::{Level, Lsn, RequestToken, WalPosition};
use crate::error::Problem;
use crate::policy::Decision;
use crate::pool::{Lease, Node};
use crate::replication::{Condition, Knowledge, NodeStatus};
use crate::routing::{NodeView, Plan, Reason, Step, plan};
use crate::target::sql::{self, Answer, Failure, FailureKind};
use crate::telemetry::names;

/// How long a statement may be unanswered before one missed sample of its node counts. With the
/// sample's own timeout of a second a frozen node costs a read less than two seconds; a slow
/// statement on a node that answers its monitor is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// One plan's worth of a request: everything in it is judged by what was known at one moment.
pub(super) struct Attempt<'a> {
    pub(super) run: &'a Run<'a>,
    /// With the token expressed in terms of `known`.
    pub(super) decision: Decision,
    pub(super) known: Arc<Knowledge>,
}

/// Why a plan gave no answer.
pub(super) enum AttemptError {
    /// The client gets this.
    Final(Problem),
    /// The client gets this unless there is a better plan: nothing was written.
    NothingDone(Problem),
}

/// Why a step gave no answer.
pub(super) enum StepError {
    /// The node cannot prove what the request needs; the next step has its own reason.
    Unproven,
    /// The node failed and has done nothing; the next step may not.
    Next(Problem),
    /// The client gets this.
    Final(Problem),
}

/// Why a node gave no answer.
pub(super) enum AskError {
    /// The statement failed, and every answer to it was read.
    Failed(Failure),
    /// The deadline passed.
    Deadline,
    /// The monitor lost the node meanwhile.
    Lost,
    /// An answer came, from a server in another role than the one it was asked in.
    OtherRole,
}

/// A node as it was asked.
pub(super) struct Asked<'a> {
    pub(super) node: &'a Node,
    pub(super) as_primary: bool,
    pub(super) reason: Reason,
    /// What was known of it before.
    pub(super) status: Arc<NodeStatus>,
    /// Whether that was known of the server life that was asked.
    pub(super) current: bool,
}

impl Attempt<'_> {
    /// Tries step after step; `timing` collects where the time went, failed steps included.
    pub(super) async fn follow_plan(&self, timing: &mut Timing) -> Result<Outcome, AttemptError> {
        let mut last = None;
        for step in self.plan() {
            let reason = if last.is_some() {
                Reason::Retry
            } else {
                step.reason
            };
            match self.step(&step, reason, timing).await {
                Ok(outcome) => return Ok(outcome),
                Err(StepError::Final(problem)) => return Err(AttemptError::Final(problem)),
                Err(StepError::Unproven) => {}
                Err(StepError::Next(problem)) => {
                    tracing::debug!(node = %self.node(&step).id, %problem, "passed over a node");
                    last = Some(problem);
                }
            }
        }
        Err(AttemptError::NothingDone(
            last.unwrap_or_else(|| self.nobody()),
        ))
    }

    fn plan(&self) -> Plan {
        let nodes = self.run.services.nodes.iter();
        let views: SmallVec<[_; 4]> = nodes
            .map(|node| NodeView {
                id: &node.id,
                status: self.known.status(&node.id),
            })
            .collect();
        plan(&self.decision, self.run.safe, &views, Instant::now())
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
        let status = self.run.services.monitor.status(&node.id);
        let current = status.identity == Some(lease.life());
        if !self.is_proven(step, &status, current) {
            lease.settle();
            return Err(StepError::Unproven);
        }
        let asked = Asked {
            node,
            as_primary: step.as_primary,
            reason,
            status,
            current,
        };
        let started = Instant::now();
        let answer = self.ask(&asked, lease).await;
        timing.db += started.elapsed();
        let answer = answer.map_err(|error| self.judge(&asked, error))?;
        Ok(self.outcome(&asked, answer))
    }

    /// Waits for the step's position, if it has one, and for a connection.
    async fn wait_and_lease(&self, node: &Node, step: &Step) -> Result<Lease, StepError> {
        if let Some(lsn) = step.wait_for
            && !self.reaches(node, lsn).await
        {
            return Err(StepError::Unproven);
        }
        match timeout_at(self.run.deadline, node.lease(self.run.deadline)).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) if step.as_primary && error.is_unreachable() => {
                tracing::debug!(%error, "no connection to the primary");
                Err(StepError::Next(self.nobody()))
            }
            Ok(Err(error)) => Err(StepError::Next(Problem::Pool(error))),
            Err(_elapsed) => Err(StepError::Final(Problem::Deadline)),
        }
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
    fn is_proven(&self, step: &Step, status: &NodeStatus, current: bool) -> bool {
        if step.as_primary != status.acts_as_primary {
            return false;
        }
        let Decision {
            consistency, token, ..
        } = &self.decision;
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
    /// connection, so that the next request does not meet the same server.
    async fn ask(&self, asked: &Asked<'_>, lease: Lease) -> Result<Answer, AskError> {
        let Run {
            target,
            arguments,
            deadline,
            safe,
            ..
        } = self.run;
        let (client, statement) = (lease.client(), &target.statement);
        let sent = async {
            match self.known.timeline {
                Some(timeline) if !safe => sql::write(client, statement, arguments, timeline).await,
                _ => sql::read(client, statement, arguments, self.wants_position(asked)).await,
            }
        };
        tokio::select! {
            biased;
            answer = timeout_at(*deadline, sent) => {
                let answer = answer.map_err(|_elapsed| AskError::Deadline)?;
                let answer = self.in_role(asked, answer)?;
                lease.settle();
                answer.map_err(AskError::Failed)
            }
            () = self.lost(asked.node) => Err(AskError::Lost),
        }
    }

    /// Passes on what a server said in the role it was asked in. Another server is given up, and the
    /// monitor told.
    fn in_role(
        &self,
        asked: &Asked<'_>,
        answer: Result<Answer, Failure>,
    ) -> Result<Result<Answer, Failure>, AskError> {
        let other_role = match answer {
            Err(failure) if failure.kind == FailureKind::NotPrimary => AskError::Failed(failure),
            Ok(answer) if !self.is_still_in_its_role(asked, &answer) => AskError::OtherRole,
            usual => return Ok(usual),
        };
        tracing::debug!(node = %asked.node.id, "answered in another role than it was asked in");
        // Where one was demoted, another was promoted.
        self.run.services.monitor.doubt_all();
        Err(other_role)
    }

    /// Ends when the monitor loses a node, or misses one sample of it while the statement is out
    /// for longer than [`PATIENCE`]; a write is awaited to its deadline all the same.
    async fn lost(&self, node: &Node) {
        let mut watch = self.run.services.monitor.watch(&node.id);
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
        if !(self.run.safe && lost.await) {
            std::future::pending::<()>().await;
        }
    }

    /// An answer carries a token unless it is eventual, or may be kept by shared caches. Who is
    /// asked as the primary must also show that it is, unless the monitor knows that of its life.
    fn wants_position(&self, asked: &Asked<'_>) -> bool {
        let eventual = self.decision.consistency.level == Level::Eventual;
        let token =
            !self.decision.shared_cacheable && (!eventual || self.decision.token.is_present());
        token || asked.as_primary && !asked.current
    }

    /// The problem when there is nobody to ask.
    pub(super) fn nobody(&self) -> Problem {
        match self.decision.consistency.level {
            Level::Strong => Problem::NoPrimary,
            Level::Session | Level::Bounded | Level::Eventual => Problem::NoNode,
        }
    }

    fn node(&self, step: &Step) -> &Node {
        &self.run.services.nodes[step.node]
    }
}
