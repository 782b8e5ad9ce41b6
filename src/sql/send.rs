//! Sends the statement of one request on one connection, and waits for its answer, or for a reason to
//! stop waiting.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::reconnect::Interruption;
use super::request::SqlRequest;
use super::role::{AskedAs, is_as_asked};
use super::transaction::{Work, read_in_transaction, write};
use super::verdict::Silence;
use super::{Answer, Failure, FailureKind, ReadOptions, read};
use crate::postgres::pool::{Lease, Node};
use tidegate_model::NodeCondition;

/// How long a statement may be unanswered before one missed sample of its node counts. With the
/// sample's own timeout of a second, a frozen node costs a read less than two seconds, even one
/// that no other node could answer; a slow statement on a node that answers its monitor is left
/// alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a statement is in progress before anything but its answer is watched.
const UNWATCHED: Duration = Duration::from_millis(20);

/// A statement about to be sent to a node.
pub(super) struct Sending<'a> {
    pub(super) request: &'a SqlRequest<'a>,
    pub(super) node: &'a Node,
    /// The index of the node.
    pub(super) index: usize,
    pub(super) asked: AskedAs,
    pub(super) options: ReadOptions,
}

/// Why a node gave no answer.
pub(super) enum SendError {
    /// The statement failed, and every answer to it was read.
    Failed(Failure),
    /// There is no reason to wait any longer, or the answer does not count.
    Silent(Silence),
}

impl SendError {
    /// The problem of the connection, if nothing else is known to be wrong.
    pub(super) fn interruption(&self) -> Option<Interruption> {
        match self {
            Self::Silent(Silence::HeldUp) => Some(Interruption::HeldUp),
            Self::Failed(failure) => {
                let sent = failure.sent;
                failure
                    .lost_connection()
                    .then_some(Interruption::Lost { sent })
            }
            Self::Silent(Silence::Deadline | Silence::Lost | Silence::OtherRole) => None,
        }
    }
}

/// A lease whose connection is kept although its answer is not awaited, if another node was faster:
/// that happens often, and does not mean that the connection is broken. A private one, whose session has
/// settings of the request, is closed: nothing shows that they are gone.
pub(super) struct Loan<'a> {
    lease: Option<Lease>,
    beaten: &'a AtomicBool,
    is_private: bool,
}

impl<'a> Loan<'a> {
    pub(super) fn new(lease: Lease, beaten: &'a AtomicBool, is_private: bool) -> Self {
        Self {
            lease: Some(lease),
            beaten,
            is_private,
        }
    }

    fn lease(&self) -> &Lease {
        let lease = self.lease.as_ref();
        lease.expect("only settling takes the lease")
    }

    /// Returns an upper bound of the time that the server took.
    fn settle(mut self) -> Option<Duration> {
        self.lease.take().map(Lease::settle)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && !self.is_private
            && self.beaten.load(Ordering::Relaxed)
        {
            lease.settle_later();
        }
    }
}

impl Sending<'_> {
    /// Sends the statement and reads its answer; a lease that is given up here closes its
    /// connection, so that the next request does not get the same server process, unless another
    /// node was merely faster.
    pub(super) async fn send(&self, loan: Loan<'_>) -> Result<Answer, SendError> {
        let SqlRequest {
            target,
            arguments,
            local,
            ..
        } = *self.request;
        let (lease, statement) = (loan.lease(), &target.statement);
        let work = Work {
            statement,
            arguments,
            local,
        };
        let sent = async {
            match self.asked.timeline {
                // Boxed: large and not needed for most reads.
                Some(timeline) if !self.request.safe => {
                    let resets_session = self.options.resets_session;
                    Box::pin(write(lease, work, timeline, resets_session)).await
                }
                _ if local.is_some() => {
                    let with_position = self.options.with_position;
                    Box::pin(read_in_transaction(lease, work, with_position)).await
                }
                _ => read(lease, statement, arguments, self.options).await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = sent => self.in_role(answer),
            silence = self.silence(loan.lease()) => Err(SendError::Silent(silence)),
        };
        match answer {
            Ok(answer) => {
                if !is_of_use(&answer) {
                    // Dropped without being settled: no other request must get it.
                    loan.lease().condemn();
                } else if let (Some(took), Ok(_)) = (loan.settle(), &answer) {
                    let round_trip = self.node.round_trip();
                    target.quickness.add(self.index, took, round_trip);
                }
                answer.map_err(SendError::Failed)
            }
            Err(error) => {
                if says_something_of_the_connection(&error) {
                    loan.lease().condemn();
                }
                Err(error)
            }
        }
    }

    /// Ends when an answer is not worth waiting for any longer. Most answers arrive before anything
    /// needs to be watched.
    async fn silence(&self, lease: &Lease) -> Silence {
        let deadline = self.request.deadline;
        sleep_until(deadline.min(Instant::now() + UNWATCHED)).await;
        tokio::select! {
            biased;
            () = sleep_until(deadline) => Silence::Deadline,
            () = Box::pin(self.lost()) => Silence::Lost,
            () = Box::pin(lease.held_up()) => Silence::HeldUp,
        }
    }

    /// Returns the answer of a server that is in the expected role. A server in another role is
    /// given up, and the monitor is informed.
    fn in_role(
        &self,
        answer: Result<Answer, Failure>,
    ) -> Result<Result<Answer, Failure>, SendError> {
        let other_role = match answer {
            Err(failure) if failure.kind == FailureKind::NotPrimary => SendError::Failed(failure),
            Ok(answer) if !self.is_as_asked(&answer) => SendError::Silent(Silence::OtherRole),
            usual => return Ok(usual),
        };
        tracing::debug!(node = %self.node.id, "answered in another role than it was asked in");
        // If one was demoted, another was promoted.
        self.request.database.monitor.doubt_all();
        Err(other_role)
    }

    fn is_as_asked(&self, answer: &Answer) -> bool {
        let newest = || self.request.database.monitor.knowledge().timeline;
        is_as_asked(self.asked, answer.position, newest)
    }

    /// Ends when the monitor loses the node, or misses one sample of it while the statement is
    /// unanswered for longer than [`PATIENCE`]; a write is still awaited until its deadline.
    async fn lost(&self) {
        let mut watch = self.request.database.monitor.watch(&self.node.id);
        let mut patient = watch.clone();
        let unreachable = watch.wait_for(|status| status.condition == NodeCondition::Unreachable);
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
        if !(self.request.safe && lost.await) {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether other requests can use the connection: one that still looks open may never answer again.
fn is_of_use(answer: &Result<Answer, Failure>) -> bool {
    match answer {
        Ok(answer) => answer.session_is_clean,
        Err(failure) => failure.session_is_clean && failure.kind != FailureKind::Unavailable,
    }
}

fn says_something_of_the_connection(error: &SendError) -> bool {
    match error {
        SendError::Failed(_) | SendError::Silent(Silence::Lost | Silence::OtherRole) => true,
        SendError::Silent(Silence::Deadline | Silence::HeldUp) => false,
    }
}
