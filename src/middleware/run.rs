//! Asks the nodes for one request, and once more when a promotion was seen meanwhile.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Services;
use super::answer::{Served, Timing};
use super::attempt::{Attempt, AttemptError};
use crate::postgres::monitor::Knowledge;
use crate::sql::SqlError;
use crate::sql::{Answer, Argument, SqlTarget};
use tidegate_model::{RequestToken, WalPosition};
use tidegate_policy::Decision;

/// How often a request is planned at most: promotions are rare, so the second plan has the new
/// primary if it is known at all.
const ATTEMPTS_MAX: usize = 2;

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

impl Run<'_> {
    /// Makes a plan and follows it; `timing` collects where the time went, failed steps included.
    ///
    /// Boxed: it is large, and who answers from memory should not carry it around.
    ///
    /// # Errors
    /// The problem to answer.
    pub(super) fn run<'a>(
        &'a self,
        timing: &'a mut Timing,
    ) -> BoxFuture<'a, Result<Outcome, SqlError>> {
        Box::pin(self.follow_plans(timing))
    }

    async fn follow_plans(&self, timing: &mut Timing) -> Result<Outcome, SqlError> {
        let mut attempts = 1;
        loop {
            let known = self.services.monitor.knowledge();
            let attempt = self.attempt(Arc::clone(&known))?;
            match attempt.follow_plan(timing).await {
                Ok(outcome) => return Ok(outcome),
                Err(AttemptError::Final(problem)) => return Err(problem),
                Err(AttemptError::NothingDone(problem)) => {
                    let now = self.services.monitor.knowledge();
                    if attempts == ATTEMPTS_MAX || known.is_about_same_primary(&now) {
                        return Err(problem);
                    }
                    attempts += 1;
                }
            }
        }
    }

    /// Judges the token by what is known now.
    fn attempt(&self, known: Arc<Knowledge>) -> Result<Attempt<'_>, SqlError> {
        let lineage = known.lineage.as_deref();
        let token = self.decision.token.at_present(lineage)?;
        if let (RequestToken::Verified(token), Some(lineage)) = (token, lineage)
            && token.system == lineage.present().0
            && Some(token.timeline) > known.timeline
        {
            // Another gateway has seen a promotion.
            self.services.monitor.doubt_all();
        }
        let decision = Decision {
            token,
            ..self.decision.clone()
        };
        Ok(Attempt {
            run: self,
            decision,
            known,
            ranking: self.services.selector.ranking(Instant::now()),
        })
    }
}
