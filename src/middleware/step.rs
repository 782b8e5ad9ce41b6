//! One node of a plan: waits for what it needs, sends the statement, and reports how the node did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Duration, Instant, sleep, sleep_until, timeout, timeout_at};

use super::answer::Timing;
use super::attempt::{Attempt, StepError};
use super::run::{Outcome, Run};
use super::spill::Room;
use crate::consistency::{Level, Lsn, RequestToken, WalPosition};
use crate::error::Problem;
use crate::policy::Decision;
use crate::pool::{Lease, Node};
use crate::replication::{Condition, NodeStatus};
use crate::routing::{Reason, Step};
use crate::steering;
use crate::target::sql::{self, Answer, Failure, FailureKind};
use crate::telemetry::names;

/// How long a statement may be unanswered before one missed sample of its node counts. With the
/// sample's own timeout of a second a frozen node costs a read less than two seconds, even one that
/// nobody else could answer; a slow statement on a node that answers its monitor is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a statement is out before anything but its answer is looked at.
const UNWATCHED: Duration = Duration::from_millis(20);

/// One step as it is tried.
pub(super) struct Try {
    pub(super) step: Step,
    pub(super) reason: Reason,
    /// Whether another node has answered first, so that the answer of this one is not waited for.
    pub(super) beaten: AtomicBool,
}

/// A node as it was asked.
pub(super) struct Asked<'a> {
    pub(super) node: &'a Node,
    /// Its place among the nodes.
    index: usize,
    pub(super) as_primary: bool,
    pub(super) reason: Reason,
    /// What was known of it before.
    pub(super) status: Arc<NodeStatus>,
    /// Whether that was known of the server life that was asked.
    pub(super) current: bool,
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
    /// A read of somebody else on the same connection is in the way.
    HeldUp,
}

/// A lease whose connection is kept although its answer is not waited for, if another node was
/// quicker: that happens often, and says nothing against the connection.
struct Loan<'a> {
    lease: Option<Lease>,
    beaten: &'a AtomicBool,
}

impl Loan<'_> {
    fn lease(&self) -> &Lease {
        let lease = self.lease.as_ref();
        lease.expect("only settling takes the lease")
    }

    /// Returns how long the server took at most.
    fn settle(mut self) -> Option<Duration> {
        self.lease.take().map(Lease::settle)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.beaten.load(Ordering::Relaxed)
        {
            lease.settle_later();
        }
    }
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
        let mut may_share = self.run.safe && self.run.target.quickness.is_quick(step.node);
        loop {
            let started = Instant::now();
            let lease = self.lease(step, may_share).await;
            timing.wait += started.elapsed();
            let lease = lease?;
            let shared = lease.is_shared();
            let asked = self.asked(tried, &lease);
            if !self.is_proven(step, &asked.status, asked.current) {
                lease.settle();
                return Err(StepError::Unproven);
            }
            let started = Instant::now();
            let loan = Loan {
                lease: Some(lease),
                beaten: &tried.beaten,
            };
            let answer = self.ask(&asked, loan).await;
            timing.db += started.elapsed();
            if shared && is_others_doing(&answer) {
                may_share = false;
                continue;
            }
            self.report(step, &answer);
            if answer.is_ok() {
                self.note_latency(step, waited.elapsed());
            }
            let answer = answer.map_err(|error| self.judge(&asked, error))?;
            return Ok(self.outcome(&asked, answer));
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
    fn room(&self, step: &Step) -> Result<Option<Room<'_>>, StepError> {
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
    async fn lease(&self, step: &Step, may_share: bool) -> Result<Lease, StepError> {
        let (node, deadline) = (self.node(step), self.run.deadline);
        let leased = async {
            match may_share {
                true => node.share(deadline).await,
                false => node.lease(deadline).await,
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
                let answered = steering::Outcome::Answered;
                let selector = &self.run.services.selector;
                selector.report(step.node, answered, None, Instant::now());
            }
        }
    }

    fn report_failure(&self, step: &Step) {
        let failed = steering::Outcome::Failed;
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
            | Reason::Retry
            | Reason::Hedge => true,
        }
    }

    /// Sends the statement and reads its answer; a lease that is given up here closes its
    /// connection, so that the next request does not meet the same server, unless another node was
    /// merely quicker.
    async fn ask(&self, asked: &Asked<'_>, loan: Loan<'_>) -> Result<Answer, AskError> {
        let Run {
            target,
            arguments,
            safe,
            ..
        } = self.run;
        let (client, statement) = (loan.lease().client(), &target.statement);
        let sent = async {
            match self.known.timeline {
                Some(timeline) if !safe => sql::write(client, statement, arguments, timeline).await,
                _ => sql::read(client, statement, arguments, self.wants_position(asked)).await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = sent => self.in_role(asked, answer),
            trouble = self.trouble(asked.node, loan.lease()) => Err(trouble),
        };
        match answer {
            Ok(answer) => {
                if is_broken(&answer) {
                    loan.lease().condemn();
                }
                let took = loan.settle();
                if let (Ok(_), Some(took)) = (&answer, took) {
                    target.quickness.add(asked.index, took);
                }
                answer.map_err(AskError::Failed)
            }
            Err(AskError::Deadline) => Err(AskError::Deadline),
            Err(AskError::HeldUp) => Err(AskError::HeldUp),
            Err(wrong_server) => {
                loan.lease().condemn();
                Err(wrong_server)
            }
        }
    }

    /// Ends when an answer is not worth waiting for any longer. Most come before anything needs to
    /// be watched.
    async fn trouble(&self, node: &Node, lease: &Lease) -> AskError {
        let deadline = self.run.deadline;
        sleep_until(deadline.min(Instant::now() + UNWATCHED)).await;
        tokio::select! {
            biased;
            () = sleep_until(deadline) => AskError::Deadline,
            () = self.lost(node) => AskError::Lost,
            () = lease.held_up() => AskError::HeldUp,
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

    pub(super) fn node(&self, step: &Step) -> &Node {
        &self.run.services.nodes[step.node]
    }
}

/// Whether an answer, or its absence, may be due to those who share the connection.
fn is_others_doing(answer: &Result<Answer, AskError>) -> bool {
    match answer {
        Err(AskError::HeldUp) => true,
        Err(AskError::Failed(failure)) => failure.kind == FailureKind::Unavailable,
        Ok(_) | Err(AskError::Deadline | AskError::Lost | AskError::OtherRole) => false,
    }
}

/// Whether the connection, which may still look open, has nothing more to say.
fn is_broken(answer: &Result<Answer, Failure>) -> bool {
    matches!(answer, Err(failure) if failure.kind == FailureKind::Unavailable)
}
