//! Receipts: a decision with all its inputs, as one line of JSON.
//!
//! Regions, windows and policies are written by name, so that a receipt can be decided again by
//! another plan. Affinity keys are hashed, and only the headers, cookies and query parameters that
//! a condition names are kept; the client's address is kept only if a condition names networks. The names are
//! written too, so that another plan can tell what was absent from what was not recorded.

mod error;
mod facts;
mod names;
mod request;
mod verdict;

use serde::{Deserialize, Serialize};

use crate::decide::{RegionDecision, Request, decide};
use crate::facts::Facts;
use crate::plan::{OpenWindows, Plan};
use facts::RecordedFacts;
use request::RecordedRequest;

pub use error::ReceiptError;
pub use verdict::{RecordedDecision, Verdict};

/// A decision and its inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
    /// The revision of the plan; 0 is the built-in one or a file.
    pub revision: u32,
    /// The arm of an open rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    request: RecordedRequest,
    facts: RecordedFacts,
    /// The decision.
    pub decision: RecordedDecision,
}

impl Receipt {
    /// Records a decision.
    pub fn new(
        (time_ms, revision): (i64, u32),
        plan: &Plan,
        facts: &Facts,
        request: &Request<'_>,
        decision: &RegionDecision,
    ) -> Self {
        Self {
            time_ms,
            revision,
            arm: None,
            request: RecordedRequest::new(plan, request),
            facts: RecordedFacts::new(plan, facts),
            decision: RecordedDecision::new(plan, facts, request, decision),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// States what is wrong with it.
    pub fn read(line: &str) -> Result<Self, ReceiptError> {
        let receipt: Self = serde_json::from_str(line)?;
        if receipt.time_ms < 0 {
            return Err(ReceiptError::Field("time"));
        }
        receipt.facts.check()?;
        receipt.request.check()?;
        receipt.decision.check()?;
        Ok(receipt)
    }

    /// Returns the line, without its end.
    ///
    /// # Errors
    ///
    /// Never for a receipt.
    pub fn line(&self) -> Result<String, ReceiptError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Returns the windows of a plan that have the names of those that were open.
    pub fn windows_by_name(&self, plan: &Plan) -> OpenWindows {
        self.facts.windows(plan)
    }

    /// Returns the first field of the request on which the decision of a plan depends, and which was not
    /// recorded: decided again, it would count as absent.
    ///
    /// # Errors
    ///
    /// As [`Self::replay`].
    pub fn missing(&self, plan: &Plan, open: OpenWindows) -> Result<Option<String>, ReceiptError> {
        let facts = Facts::new(plan, self.facts.conditions(plan, open));
        self.request
            .with(plan, |request| self.request.missing(plan, &facts, request))
    }

    /// Decides again, by a plan whose windows were open as given.
    ///
    /// # Errors
    ///
    /// States which field of the request is invalid.
    pub fn replay(&self, plan: &Plan, open: OpenWindows) -> Result<RecordedDecision, ReceiptError> {
        let facts = Facts::new(plan, self.facts.conditions(plan, open));
        self.request.with(plan, |request| {
            let decision = decide(plan, &facts, request);
            RecordedDecision::new(plan, &facts, request, &decision)
        })
    }
}

#[cfg(test)]
mod tests;
