//! One attempt: waits until the node has the required position, sends it the statement, and reports
//! the result.

use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout_at};

use super::planned::{PlannedRequest, StepError, StepResult, Try};
use super::proof::{self, Unproven};
use super::reconnect::{Interruption, LeaseKind};
use super::request::SqlOutcome;
use super::role::{AskedAs, newest_seen};
use super::send::{Loan, SendError, Sending};
use super::spans::{describe_statement, statement_span};
use super::spill::SpillPermit;
use super::verdict::{self, Silence, Verdict};
use super::{Answer, Database, FailureKind, Position, ReadOptions, SqlError};
use crate::http::{NodeRole, Served, Timing};
use crate::postgres::pool::{Lease, Node};
use tidegate_model::{Level, NodeStatus, WalPosition};
use tidegate_policy::Step;
use tidegate_steering::AttemptOutcome;
use tidegate_traffic::health::Outcome;

/// One attempt at a node of a plan.
pub(super) struct Attempt<'a> {
    pub(super) planned: &'a PlannedRequest<'a>,
    pub(super) tried: &'a Try,
}

/// What was known about the node when the statement was sent.
pub(super) struct Known {
    status: Arc<NodeStatus>,
    /// Whether it was known about the server life that got the statement.
    current: bool,
}

impl Known {
    /// Returns what was known about the server life that got the statement.
    fn of_this_life(&self) -> Option<&NodeStatus> {
        self.current.then_some(&*self.status)
    }
}

impl Attempt<'_> {
    /// Sends the statement to the node and reports the result to its breaker and to the endpoint's
    /// latencies.
    pub(super) async fn run(&self, timing: &mut Timing) -> StepResult {
        let (request, node) = (self.planned.request, self.step().node);
        let (mut room, mut kind) = self.room()?;
        let started = Instant::now();
        if let Some(lsn) = self.step().wait_for
            && !self.database().reaches(&self.node().id, lsn).await
        {
            timing.wait += started.elapsed();
            return Err(StepError::Unproven);
        }
        timing.wait += started.elapsed();
        let waited = Instant::now();
        loop {
            let started = Instant::now();
            let lease = self.lease(kind).await;
            timing.wait += started.elapsed();
            let lease = lease?;
            let known = self.known(&lease);
            if !self.is_proven(&known) {
                lease.settle();
                return Err(StepError::Unproven);
            }
            let started = Instant::now();
            let is_private = request.local.is_some();
            let loan = Loan::new(lease, &self.tried.beaten, is_private);
            let member = self.planned.member(self.step());
            let mut span = statement_span(&member.address, &request.target.configured);
            let answer = self.sending(&known).send(loan).await;
            describe_statement(&mut span, &answer);
            drop(span);
            let took = started.elapsed();
            timing.db += took;
            let interruption = answer.as_ref().err().and_then(SendError::interruption);
            if let Some(again) = interruption.and_then(|it| kind.after(it, request.safe)) {
                self.log_reconnect(interruption);
                kind = again;
                if let Some(room) = &mut room {
                    room.change(self.planned.spill_share(self.step(), kind));
                }
                continue;
            }
            self.report(&answer, took);
            if let Ok(_) | Err(SendError::Silent(Silence::Deadline)) = &answer {
                self.report_to_spill(took);
            }
            if answer.is_ok() {
                let latencies = &request.target.latencies;
                latencies.add(node, waited.elapsed(), Instant::now());
            }
            let answer = answer.map_err(|error| self.judge(error))?;
            return self.outcome(&known, answer);
        }
    }

    /// Leaves room on the primary for those requests that no other node can serve. Also returns
    /// what kind of connection the request may use there.
    fn room(&self) -> Result<(Option<SpillPermit<'_>>, LeaseKind), StepError> {
        let kind = self.planned.first_lease(self.step());
        if !self.planned.is_spill(self.step()) {
            return Ok((None, kind));
        }
        let spill = &self.database().spill;
        let connections_max = self.node().connections_max();
        let mut kinds = kind.or_shared();
        let entered = kinds.find_map(|kind| {
            let share = self.planned.spill_share(self.step(), kind);
            let room = spill.enter(share, connections_max)?;
            Some((Some(room), kind))
        });
        spill.count(entered.is_some());
        entered.ok_or(StepError::Refused(SqlError::SpillBudget))
    }

    /// Lets the spill budget follow the primary's reads; one that ran out of time took at least as long.
    fn report_to_spill(&self, took: Duration) {
        if self.step().as_primary && self.planned.request.safe {
            let spill = &self.database().spill;
            let round_trip = spill.distance(self.planned.round_trip(self.step()));
            let took = took.saturating_sub(round_trip + spill.own_delay());
            let unloaded = &self.planned.request.target.unloaded;
            let unloaded = unloaded.add(took, Instant::now());
            spill.answered(took, unloaded, round_trip);
        }
    }

    /// Waits for a connection.
    async fn lease(&self, kind: LeaseKind) -> Result<Lease, StepError> {
        let (node, deadline) = (self.node(), self.planned.request.deadline);
        let started = Instant::now();
        let leased = async {
            match kind {
                LeaseKind::Shared => node.share(deadline).await,
                LeaseKind::Free => node.lease_free_or_share(deadline).await,
                LeaseKind::Exclusive | LeaseKind::Another => node.lease(deadline).await,
                LeaseKind::Checked => Box::pin(node.lease_checked(deadline)).await,
            }
        };
        let leased = timeout_at(deadline, leased).await;
        let error = match leased {
            Ok(Ok(lease)) => return Ok(lease),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(StepError::Final(SqlError::Deadline)),
        };
        if !error.is_unreachable() {
            return Err(StepError::Next(SqlError::Pool(error)));
        }
        self.report_to_breaker(AttemptOutcome::Failed);
        self.report_to_region(Outcome::Failed, started.elapsed());
        tracing::debug!(%error, "no connection");
        Err(StepError::Next(match self.step().as_primary {
            true => self.planned.no_node(),
            false => SqlError::Pool(error),
        }))
    }

    fn known(&self, lease: &Lease) -> Known {
        let status = self.database().monitor.status(&self.node().id);
        Known {
            current: status.identity == Some(lease.life()),
            status,
        }
    }

    /// Whether the newest sample, if it is from the server life of this connection, still proves
    /// what the step needs: time has passed since the plan.
    fn is_proven(&self, known: &Known) -> bool {
        let (decision, now) = (&self.planned.decision, Instant::now());
        let as_primary = self.step().as_primary;
        as_primary == known.status.acts_as_primary
            && (as_primary || proof::may_be_asked(decision, known.of_this_life(), now))
    }

    fn sending(&self, known: &Known) -> Sending<'_> {
        Sending {
            request: self.planned.request,
            node: self.node(),
            index: self.step().node,
            asked: AskedAs {
                primary: self.step().as_primary,
                current: known.current,
                safe: self.planned.request.safe,
                timeline: self.planned.known.timeline,
            },
            options: self.options(known),
        }
    }

    fn options(&self, known: &Known) -> ReadOptions {
        let revision = self.node().catalogue().revision();
        let stateless = &self.planned.request.target.stateless;
        ReadOptions {
            with_position: self.wants_position(known),
            resets_session: !stateless.is_proven(self.step().node, revision),
        }
    }

    /// An answer carries a token unless it is eventual, or may be kept by shared caches. A node
    /// contacted as the primary must also show that it is the primary, unless the monitor already knows
    /// this about its server life.
    fn wants_position(&self, known: &Known) -> bool {
        let decision = &self.planned.decision;
        let eventual = decision.consistency.level == Level::Eventual;
        let token = !decision.shared_cacheable && (!eventual || decision.token.is_present());
        token || self.step().as_primary && !known.current
    }

    /// Reports the result to the node's breaker. Errors that the statement or the client caused are
    /// answers.
    fn report(&self, answer: &Result<Answer, SendError>, took: Duration) {
        let failed = match answer {
            Ok(_) => Some(false),
            Err(SendError::Failed(failure)) => Some(failure.kind == FailureKind::Unavailable),
            Err(SendError::Silent(silence)) => verdict::node_failed(*silence),
        };
        match failed {
            Some(true) => {
                self.report_to_breaker(AttemptOutcome::Failed);
                self.report_to_region(Outcome::Failed, took);
            }
            Some(false) => {
                self.report_to_breaker(AttemptOutcome::Answered);
                self.report_to_region(Outcome::Served, took);
            }
            None => {}
        }
    }

    /// Lets the traffic policy know how the node's region does.
    fn report_to_region(&self, outcome: Outcome, took: Duration) {
        let member = self.planned.member(self.step());
        if let (Some(route), Some(region)) = (self.planned.request.route, &member.node.region) {
            route.sample(region, &member.name, outcome, took);
        }
    }

    fn report_to_breaker(&self, outcome: AttemptOutcome) {
        let selector = &self.database().selector;
        selector.report(self.step().node, outcome, None, Instant::now());
    }

    /// Determines what a failure means for the request.
    fn judge(&self, error: SendError) -> StepError {
        let terms = self.planned.terms();
        let (verdict, failure) = match error {
            SendError::Silent(silence) => (verdict::of_silence(terms, silence), None),
            SendError::Failed(failure) => {
                let as_primary = self.step().as_primary;
                let verdict = verdict::of_failure(terms, as_primary, &failure.kind, failure.sent);
                (verdict, Some(failure))
            }
        };
        match (verdict, failure) {
            (Verdict::OutcomeUnknown, failure) => {
                StepError::Final(SqlError::OutcomeUnknown(failure))
            }
            (Verdict::Final, Some(failure)) => StepError::Final(SqlError::Statement(failure)),
            (Verdict::Final, None) => StepError::Final(SqlError::Deadline),
            (Verdict::Next, Some(failure)) => StepError::Next(SqlError::Statement(failure)),
            (Verdict::Next, None) | (Verdict::NextOrNoNode, _) => {
                StepError::Next(self.planned.no_node())
            }
        }
    }

    /// Describes how an answer was produced. If it took so long that it is no longer proven, the
    /// node is healthy and another one has to answer.
    fn outcome(&self, known: &Known, answer: Answer) -> StepResult {
        let (step, member) = (self.step(), self.planned.member(self.step()));
        let (role, staleness) = match step.as_primary {
            true => (NodeRole::Primary, Some(Duration::ZERO)),
            false => (NodeRole::Replica, self.staleness(known)?),
        };
        let served = Served {
            node: Arc::clone(&member.name),
            region: member.node.region.clone(),
            gateway: None,
            role,
            upstream: None,
            reason: Some(self.tried.reason),
            staleness,
        };
        Ok(SqlOutcome {
            seen: answer.position.and_then(|shown| self.seen(known, shown)),
            answer,
            served,
        })
    }

    fn staleness(&self, known: &Known) -> Result<Option<Duration>, StepError> {
        let bound = self.planned.decision.consistency.max_staleness;
        let newest = || self.database().monitor.status(&self.node().id);
        let known = known.of_this_life();
        let judged = proof::staleness_of_answer(bound, known, newest, Instant::now());
        judged.map_err(|Unproven| {
            let node = &self.node().id;
            tracing::debug!(%node, "its answer took longer than it was proven for");
            StepError::Unproven
        })
    }

    fn seen(&self, known: &Known, shown: Position) -> Option<WalPosition> {
        let lineage = self.planned.known.lineage.as_ref();
        let system = lineage.map(|lineage| lineage.present().0);
        newest_seen(
            self.planned.decision.token,
            shown,
            known.status.position,
            system,
        )
    }

    fn log_reconnect(&self, interruption: Option<Interruption>) {
        let node = &self.node().id;
        tracing::debug!(%node, trouble = ?interruption, "asking on another connection");
    }

    fn step(&self) -> &Step {
        &self.tried.step
    }

    fn node(&self) -> &Node {
        &self.planned.member(self.step()).node
    }

    fn database(&self) -> &Database {
        self.planned.request.database
    }
}
