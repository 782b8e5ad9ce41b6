//! The expectation of a test, and the actual result.

use crate::decide::{RegionDecision, RegionReason, Request, Target};
use crate::facts::Facts;
use crate::plan::{Plan, RegionIndex, RegionMask};
use crate::syntax::Quoted;

/// The content of `expect`.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) wanted: Wanted,
    pub(crate) by: Option<Box<str>>,
    pub(crate) because: Option<RegionReason>,
}

/// The expected result.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// The first one, with the others as standbys after it.
    Regions(Vec<RegionIndex>),
    /// The policy's `else`.
    Else,
    /// The gateway's own region.
    Local,
    /// None of these.
    Never(RegionMask),
}

impl Expected {
    /// Compares with a decision; states the actual result and the reason.
    pub(crate) fn compare(
        &self,
        plan: &Plan,
        facts: &Facts,
        request: &Request<'_>,
        decision: &RegionDecision,
    ) -> Result<(), String> {
        let order: Vec<_> = match decision.region {
            Target::Region(region) => {
                let standbys = decision
                    .standbys
                    .in_order(plan, facts, request, decision.policy);
                std::iter::once(region).chain(standbys).collect()
            }
            Target::Here | Target::Status(_) => Vec::new(),
        };
        let is_local = order.first().copied() == facts.local() && !order.is_empty();
        let comes = match &self.wanted {
            Wanted::Regions(regions) => order.starts_with(regions),
            Wanted::Else => decision.reason == RegionReason::Else,
            Wanted::Local => is_local || decision.region == Target::Here,
            Wanted::Never(_) => true,
        };
        let policy = &plan.policies()[decision.policy].name;
        let by = self.by.as_ref().is_none_or(|by| by == policy);
        let because = self
            .because
            .is_none_or(|because| because == decision.reason);
        if comes && by && because {
            return Ok(());
        }
        let length = match &self.wanted {
            Wanted::Regions(regions) => regions.len(),
            Wanted::Else | Wanted::Local | Wanted::Never(_) => 1,
        };
        let came: Vec<_> = order
            .iter()
            .take(length)
            .map(|region| plan.region_id(*region).as_str())
            .collect();
        let came = match decision.region {
            Target::Region(_) => came.join(" then "),
            Target::Here => "else local".to_owned(),
            Target::Status(status) => format!("else {status}"),
        };
        Err(format!(
            "got {came} by {} because {}",
            Quoted(policy),
            decision.reason
        ))
    }
}
