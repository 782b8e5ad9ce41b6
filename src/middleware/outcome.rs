//! What a node's answer or failure means for the request.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::Served;
use super::ask::{AskError, Asked};
use super::attempt::{Attempt, StepError};
use super::proof::{self, Unproven};
use super::run::Outcome;
use crate::sql::SqlError;
use crate::sql::{Answer, Failure, FailureKind};
use tidegate_model::{Level, RequestToken, WalPosition};

impl Attempt<'_> {
    /// What a node's failure means for the request.
    pub(super) fn judge(&self, asked: &Asked<'_>, error: AskError) -> StepError {
        match error {
            AskError::Failed(failure) => self.judge_failure(asked, failure),
            // A write that the primary began was done; whether it lives on is not known.
            AskError::Deadline | AskError::OtherRole if !self.run.safe => {
                StepError::Final(SqlError::OutcomeUnknown(None))
            }
            AskError::Deadline => StepError::Final(SqlError::Deadline),
            AskError::OtherRole | AskError::Lost | AskError::HeldUp => {
                StepError::Next(self.nobody())
            }
        }
    }

    fn judge_failure(&self, asked: &Asked<'_>, failure: Failure) -> StepError {
        match failure.kind {
            FailureKind::Unavailable if !self.run.safe && failure.sent => {
                StepError::Final(SqlError::OutcomeUnknown(Some(failure)))
            }
            FailureKind::Unavailable if self.decision.consistency.level == Level::Strong => {
                StepError::Next(SqlError::NoPrimary)
            }
            FailureKind::Unavailable if self.run.safe => {
                StepError::Next(SqlError::Statement(failure))
            }
            // Nothing writes on a replica but recovery: the next node has no such conflict. On the
            // primary it is another transaction that won, and the client's to try again.
            FailureKind::Collision if self.run.safe && !asked.as_primary => {
                StepError::Next(SqlError::Statement(failure))
            }
            _ => StepError::Final(SqlError::Statement(failure)),
        }
    }

    /// Says how an answer came about, or that it took too long to be proven any more: then the node
    /// is well, and another one has to answer.
    pub(super) fn outcome(&self, asked: &Asked<'_>, answer: Answer) -> Result<Outcome, StepError> {
        let staleness = match asked.as_primary {
            true => Some(Duration::ZERO),
            false => self.staleness(asked)?,
        };
        let served = Served {
            node: asked.node.id.clone(),
            node_region: asked.node.region.clone(),
            is_primary: asked.as_primary,
            reason: asked.reason,
            staleness,
        };
        let seen = self.seen(asked, &answer);
        Ok(Outcome {
            answer,
            served,
            seen,
        })
    }

    fn staleness(&self, asked: &Asked<'_>) -> Result<Option<Duration>, StepError> {
        let bound = self.decision.consistency.max_staleness;
        let newest = || self.run.services.monitor.status(&asked.node.id);
        let judged = proof::staleness_of_answer(bound, asked.known(), newest, Instant::now());
        judged.map_err(|Unproven| {
            tracing::debug!(node = %asked.node.id, "its answer took longer than it was proven for");
            StepError::Unproven
        })
    }

    /// Whether the primary was the primary of the timeline that the request was judged by, and no
    /// later timeline was heard of meanwhile; whether a replica still was one.
    ///
    /// Without a position a write says so itself, since it began no other way; and so does the life
    /// of the server: it was seen in its role, and neither goes back to recovery nor to an earlier
    /// timeline within one life.
    pub(super) fn is_still_in_its_role(&self, asked: &Asked<'_>, answer: &Answer) -> bool {
        let shown = answer.position.map(|position| position.timeline);
        if !asked.as_primary {
            return !matches!(shown, Some(Some(_promoted)));
        }
        let timeline = self.known.timeline;
        let shown_or_known = match shown {
            Some(shown) => shown == timeline,
            None => asked.current || !self.run.safe,
        };
        shown_or_known && self.run.services.monitor.knowledge().timeline == timeline
    }

    /// The newer of what the request had seen and what this answer showed.
    fn seen(&self, asked: &Asked<'_>, answer: &Answer) -> Option<WalPosition> {
        let position = answer.position?;
        let shown = match (asked.status.position, &self.known.lineage) {
            (Some(known), _) => WalPosition {
                system: known.system,
                timeline: position.timeline.unwrap_or(known.timeline),
                lsn: position.lsn,
            },
            (None, Some(lineage)) => WalPosition {
                system: lineage.present().0,
                timeline: position.timeline?,
                lsn: position.lsn,
            },
            (None, None) => return None,
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
}
