//! Answers one request: plans it, and plans once more when a promotion was seen meanwhile.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::SqlError;
use super::planned::PlannedRequest;
use super::request::{SqlOutcome, SqlRequest};
use super::steps::PlanError;
use crate::http::Timing;
use crate::postgres::monitor::Knowledge;
use tidegate_model::RequestToken;
use tidegate_policy::Decision;

/// How often a request is planned at most: promotions are rare, so the second plan has the new
/// primary if it is known at all.
const PLANS_MAX: usize = 2;

impl SqlRequest<'_> {
    /// Makes a plan and follows it; `timing` collects where the time went, failed steps included.
    ///
    /// Boxed: it is large, and what is answered from memory should not carry it around.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn answer<'a>(
        &'a self,
        timing: &'a mut Timing,
    ) -> BoxFuture<'a, Result<SqlOutcome, SqlError>> {
        Box::pin(self.follow_plans(timing))
    }

    async fn follow_plans(&self, timing: &mut Timing) -> Result<SqlOutcome, SqlError> {
        let mut plans = 1;
        loop {
            let known = self.database.monitor.knowledge();
            let planned = self.plan(Arc::clone(&known))?;
            match planned.follow(timing).await {
                Ok(outcome) => return Ok(outcome),
                Err(PlanError::Final(error)) => return Err(error),
                Err(PlanError::NothingDone(error)) => {
                    let now = self.database.monitor.knowledge();
                    if plans == PLANS_MAX || known.is_about_same_primary(&now) {
                        return Err(error);
                    }
                    plans += 1;
                }
            }
        }
    }

    /// Judges the token by what is known now.
    fn plan(&self, known: Arc<Knowledge>) -> Result<PlannedRequest<'_>, SqlError> {
        let lineage = known.lineage.as_deref();
        let token = self.decision.token.at_present(lineage)?;
        if let (RequestToken::Verified(token), Some(lineage)) = (token, lineage)
            && token.system == lineage.present().0
            && Some(token.timeline) > known.timeline
        {
            // Another gateway has seen a promotion.
            self.database.monitor.doubt_all();
        }
        let decision = Decision {
            token,
            ..self.decision.clone()
        };
        Ok(PlannedRequest {
            request: self,
            decision,
            known,
            ranking: self.database.selector.ranking(Instant::now()),
        })
    }
}
