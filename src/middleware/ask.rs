//! Sends the statement of one request to one node, and waits for its answer or for a reason not to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::attempt::Attempt;
use super::go_again::Trouble;
use super::run::Run;
use crate::postgres::pool::{Lease, Node};
use crate::sql::{self, Answer, Failure, FailureKind, ReadOptions};
use tidegate_model::Level;
use tidegate_model::{Condition, NodeStatus};
use tidegate_policy::Reason;

/// How long a statement may be unanswered before one missed sample of its node counts. With the
/// sample's own timeout of a second a frozen node costs a read less than two seconds, even one that
/// nobody else could answer; a slow statement on a node that answers its monitor is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a statement is out before anything but its answer is looked at.
const UNWATCHED: Duration = Duration::from_millis(20);

/// A node as it was asked.
pub(super) struct Asked<'a> {
    pub(super) node: &'a Node,
    /// Its place among the nodes.
    pub(super) index: usize,
    pub(super) as_primary: bool,
    pub(super) reason: Reason,
    /// What was known of it before.
    pub(super) status: Arc<NodeStatus>,
    /// Whether that was known of the server life that was asked.
    pub(super) current: bool,
}

impl Asked<'_> {
    /// What was known of the server life that was asked.
    pub(super) fn known(&self) -> Option<&NodeStatus> {
        self.current.then_some(&*self.status)
    }
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

impl AskError {
    /// What was wrong with the connection, if that is all that is known to be wrong.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::HeldUp => Some(Trouble::HeldUp),
            Self::Failed(failure) => {
                let sent = failure.sent;
                failure.lost_connection().then_some(Trouble::Lost { sent })
            }
            Self::Deadline | Self::Lost | Self::OtherRole => None,
        }
    }
}

/// A lease whose connection is kept although its answer is not waited for, if another node was
/// quicker: that happens often, and says nothing against the connection.
pub(super) struct Loan<'a> {
    lease: Option<Lease>,
    beaten: &'a AtomicBool,
}

impl<'a> Loan<'a> {
    pub(super) fn new(lease: Lease, beaten: &'a AtomicBool) -> Self {
        Self {
            lease: Some(lease),
            beaten,
        }
    }

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

impl Attempt<'_> {
    /// Sends the statement and reads its answer; a lease that is given up here closes its
    /// connection, so that the next request does not meet the same server, unless another node was
    /// merely quicker.
    pub(super) async fn ask(&self, asked: &Asked<'_>, loan: Loan<'_>) -> Result<Answer, AskError> {
        let Run {
            target,
            arguments,
            safe,
            ..
        } = self.run;
        let (lease, statement) = (loan.lease(), &target.statement);
        let sent = async {
            match self.known.timeline {
                // Boxed, as all that is large and not of every read.
                Some(timeline) if !safe => {
                    Box::pin(sql::write(lease, statement, arguments, timeline)).await
                }
                _ => sql::read(lease, statement, arguments, self.options(asked)).await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = sent => self.in_role(asked, answer),
            trouble = self.trouble(asked.node, loan.lease()) => Err(trouble),
        };
        match answer {
            Ok(answer) => {
                if !is_of_use(&answer) {
                    // Dropped and not settled: no other request is to meet it.
                    loan.lease().condemn();
                } else if let (Some(took), Ok(_)) = (loan.settle(), &answer) {
                    target.quickness.add(asked.index, took);
                }
                answer.map_err(AskError::Failed)
            }
            Err(error) => {
                // The others say nothing of the connection itself.
                if !matches!(error, AskError::Deadline | AskError::HeldUp) {
                    loan.lease().condemn();
                }
                Err(error)
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
            () = Box::pin(self.lost(node)) => AskError::Lost,
            () = Box::pin(lease.held_up()) => AskError::HeldUp,
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

    fn options(&self, asked: &Asked<'_>) -> ReadOptions {
        let revision = asked.node.catalogue().revision();
        let stateless = &self.run.target.stateless;
        ReadOptions {
            with_position: self.wants_position(asked),
            resets_session: !stateless.is_proven(asked.index, revision),
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
}

/// Whether others can use the connection: one that may still look open can have nothing more to say.
fn is_of_use(answer: &Result<Answer, Failure>) -> bool {
    match answer {
        Ok(answer) => answer.session_is_clean,
        Err(failure) => failure.kind != FailureKind::Unavailable,
    }
}
