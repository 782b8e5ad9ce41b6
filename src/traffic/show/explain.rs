//! A decision in words: which policies were considered, and what decided.

use std::fmt;

use serde::Serialize;

use super::words::{regions, tier, tree};
use crate::decide::{RegionDecision, Request, Target, mismatch};
use crate::facts::Facts;
use crate::hash::RAMP_END;
use crate::plan::{Percent, Plan};

/// A decision, with everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// Where the request goes: a region, or `here`; absent if it is answered with a status.
    pub region: Option<String>,
    /// The status that it is answered with, if no region serves it.
    pub status: Option<u16>,
    /// The policy that governs it.
    pub policy: String,
    /// Where it would go with every region well.
    pub proposed: Option<String>,
    /// The regions to try next.
    pub standbys: Vec<String>,
    /// How the region was chosen, or why the proposed one was passed over.
    pub reason: String,
    /// The policies in order, up to the one that matches.
    pub considered: Vec<ExplainedPolicy>,
    /// The tiers of the policy that matches.
    pub tiers: Vec<String>,
    /// The region where the request entered, if the plan declares it.
    pub entered: Option<String>,
    /// The windows that are open.
    pub windows: Vec<String>,
    /// The regions that are not well for the policy, and their states.
    pub states: Vec<(String, String)>,
}

/// A policy that was considered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedPolicy {
    /// Its name.
    pub policy: String,
    /// The part of its condition that the request does not meet; absent if it matches.
    pub mismatch: Option<String>,
}

/// Explains a decision that was made from the same plan, facts and request.
pub fn explain(
    plan: &Plan,
    facts: &Facts,
    request: &Request<'_>,
    decision: &RegionDecision,
) -> Explained {
    let name = |region| plan.region_id(region).to_string();
    let policy = &plan.policies()[decision.policy];
    let considered = plan.policies()[..=decision.policy].iter();
    let considered = considered.map(|policy| ExplainedPolicy {
        policy: policy.name.to_string(),
        mismatch: mismatch(&policy.matches, request).map(|it| tree(it.part, 0)),
    });
    let standbys = decision
        .standbys
        .in_order(plan, facts, request, decision.policy);
    let open = facts.conditions().open;
    let windows = plan.windows().iter().enumerate();
    let windows = windows.filter(|(at, _)| open.has(*at));
    let (region, status) = match decision.region {
        Target::Region(region) => (Some(name(region)), None),
        Target::Here => (Some("here".to_owned()), None),
        Target::Status(status) => (None, Some(status)),
    };
    Explained {
        region,
        status,
        policy: policy.name.to_string(),
        proposed: decision.proposed.map(name),
        standbys: standbys.map(name).collect(),
        reason: decision.reason.to_string(),
        considered: considered.collect(),
        tiers: policy.tiers.iter().map(|one| tier(plan, one)).collect(),
        entered: facts.local().map(name),
        windows: windows.map(|(_, window)| window.name.to_string()).collect(),
        states: states(plan, facts, decision.policy),
    }
}

/// Returns the regions of a policy that are not well.
fn states(plan: &Plan, facts: &Facts, policy: usize) -> Vec<(String, String)> {
    let held = facts.policy(policy);
    let states = plan.all_regions().iter().filter_map(|region| {
        let ramp = facts.ramp(held, region);
        let state = if facts.conditions().unreachable.has(region) {
            "unreachable".to_owned()
        } else if held.left.has(region) {
            "left".to_owned()
        } else if facts.draining().has(region) {
            "draining".to_owned()
        } else if ramp < RAMP_END {
            format!("ramping, {} of the keys", Percent(u64::from(ramp) * 100))
        } else {
            return None;
        };
        Some((plan.region_id(region).to_string(), state))
    });
    let mut states: Vec<_> = states.collect();
    if held.panics {
        let named = regions(plan, held.named).join(", ");
        states.push((named, "too few are well: `left` is ignored".to_owned()));
    }
    states
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposed = self.proposed.as_deref().unwrap_or("none");
        let none_if_empty = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        match (&self.region, self.status) {
            (Some(region), _) => writeln!(f, "region    {region}")?,
            (None, Some(status)) => writeln!(f, "region    none: status {status}")?,
            (None, None) => writeln!(f, "region    none")?,
        }
        writeln!(f, "policy    {}", self.policy)?;
        writeln!(f, "proposed  {proposed}")?;
        writeln!(f, "standbys  {}", none_if_empty(&self.standbys))?;
        writeln!(f, "reason    {}", self.reason)?;
        writeln!(f, "\nPOLICIES, in the order in which they are tried")?;
        for ExplainedPolicy { policy, mismatch } in &self.considered {
            match mismatch {
                Some(part) => writeln!(f, "{policy:<20} does not match: {part}")?,
                None => writeln!(f, "{policy:<20} matches")?,
            }
        }
        writeln!(f, "\nTIERS of {}", self.policy)?;
        for tier in &self.tiers {
            writeln!(f, "{tier}")?;
        }
        writeln!(f, "\nFACTS")?;
        let entered = self.entered.as_deref().unwrap_or("a region not declared");
        writeln!(f, "{:<20} {entered}", "entered in")?;
        writeln!(f, "{:<20} {}", "windows open", none_if_empty(&self.windows))?;
        for (region, state) in &self.states {
            writeln!(f, "{region:<20} {state}")?;
        }
        if self.states.is_empty() {
            writeln!(f, "{:<20} well", "every region")?;
        }
        Ok(())
    }
}
