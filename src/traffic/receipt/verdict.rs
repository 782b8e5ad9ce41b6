//! A decision with names, and whether another one equals it.

use serde::{Deserialize, Serialize};

use crate::decide::{RegionDecision, RegionReason, Request, Target};
use crate::facts::Facts;
use crate::plan::Plan;
use crate::receipt::ReceiptError;

/// A decision, with names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDecision {
    /// The policy.
    pub policy: String,
    /// The region; `None` if the request was answered here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The status, if no region served and the policy answers with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The region with every region well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// The regions to try next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<String>,
    /// The reason.
    pub reason: String,
}

/// Whether a replay resulted in the same decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Same,
    /// It did not.
    Differs,
    /// The recorded reason was set after the decision, or a field that the decision depends on was not
    /// recorded, so it cannot be judged.
    NotJudged,
}

impl RecordedDecision {
    /// Records a decision.
    pub fn new(
        plan: &Plan,
        facts: &Facts,
        request: &Request<'_>,
        decision: &RegionDecision,
    ) -> Self {
        let name = |region| plan.region_id(region).as_str().to_owned();
        let policy = decision.policy;
        let standbys = decision.standbys.in_order(plan, facts, request, policy);
        let (region, status) = match decision.region {
            Target::Region(region) => (Some(name(region)), None),
            Target::Here => (None, None),
            Target::Status(status) => (None, Some(status)),
        };
        Self {
            policy: plan.policies()[policy].name.to_string(),
            region,
            status,
            proposed: decision.proposed.map(name),
            standbys: standbys.map(name).collect(),
            reason: decision.reason.as_str().to_owned(),
        }
    }

    /// Refuses what no gateway writes.
    pub(super) fn check(&self) -> Result<(), ReceiptError> {
        let mut reasons = RegionReason::ALL.into_iter();
        match reasons.any(|reason| reason.as_str() == self.reason) {
            true => Ok(()),
            false => Err(ReceiptError::Field("reason")),
        }
    }

    /// Compares with the result of a replay.
    pub fn verdict(&self, replayed: &Self) -> Verdict {
        let after = [RegionReason::Hop, RegionReason::NoTunnel].map(RegionReason::as_str);
        if after.contains(&&*self.reason) {
            Verdict::NotJudged
        } else if self == replayed {
            Verdict::Same
        } else {
            Verdict::Differs
        }
    }
}
