//! Facts by names.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::facts::{Conditions, Facts, RegionStanding};
use crate::hash::RAMP_END;
use crate::plan::{OpenWindows, Plan, RegionIndex, RegionMask};
use crate::receipt::ReceiptError;

/// The facts when a request was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecordedFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<String>,
    near: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    draining: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreachable: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<String>,
    /// By the text of the pair of `leave` and `return`.
    states: BTreeMap<String, RecordedStanding>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct RecordedStanding {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ramps: BTreeMap<String, u16>,
}

fn are_distinct(names: &[String]) -> bool {
    let mut seen = HashSet::new();
    names.iter().all(|name| seen.insert(name))
}

impl RecordedFacts {
    pub(super) fn new(plan: &Plan, facts: &Facts) -> Self {
        let conditions = facts.conditions();
        let name = |region: RegionIndex| plan.region_id(region).as_str().to_owned();
        let names = |regions: RegionMask| regions.iter().map(name).collect();
        let well = RegionStanding::default();
        let states = plan.judgements().iter().enumerate().map(|(at, judgement)| {
            let standing = conditions.standings.get(at).unwrap_or(&well);
            let ramps = standing.ramps.iter();
            let recorded = RecordedStanding {
                left: names(standing.left),
                ramps: ramps
                    .map(|(region, position)| (name(*region), *position))
                    .collect(),
            };
            (judgement.to_string(), recorded)
        });
        let windows = plan.windows().iter().enumerate();
        let open = windows.filter(|(at, _)| conditions.open.has(*at));
        Self {
            local: conditions.local.map(name),
            near: conditions.near.iter().copied().map(name).collect(),
            draining: names(conditions.draining),
            unreachable: names(conditions.unreachable),
            windows: open.map(|(_, window)| window.name.to_string()).collect(),
            states: states.collect(),
        }
    }

    /// Refuses what no gateway writes.
    pub(super) fn check(&self) -> Result<(), ReceiptError> {
        if !are_distinct(&self.near) {
            return Err(ReceiptError::Field("order of regions: one is in it twice"));
        }
        let listed = [&self.draining, &self.unreachable, &self.windows];
        if !listed.into_iter().all(|names| are_distinct(names)) {
            return Err(ReceiptError::Field("list: a name is in it twice"));
        }
        for (judgement, state) in &self.states {
            if !judgement.starts_with("leave ") {
                return Err(ReceiptError::Field("pair of `leave` and `return`"));
            }
            let both = |name: &String| state.ramps.contains_key(name);
            if !are_distinct(&state.left) || state.left.iter().any(both) {
                return Err(ReceiptError::Field("state: a region has two"));
            }
            if state.ramps.values().any(|position| *position > RAMP_END) {
                return Err(ReceiptError::Field("ramp"));
            }
        }
        Ok(())
    }

    pub(super) fn windows(&self, plan: &Plan) -> OpenWindows {
        let windows = plan.windows().iter().enumerate();
        let open = windows.filter(|(_, window)| self.windows.iter().any(|it| **it == *window.name));
        OpenWindows(open.fold(0, |set, (at, _)| set | 1 << at))
    }

    /// Returns the same conditions for a plan, which may differ from that of the receipt: regions
    /// that it does not have are omitted, and regions that the receipt does not have are well.
    pub(super) fn conditions(&self, plan: &Plan, open: OpenWindows) -> Conditions {
        let mask = |names: &[String]| -> RegionMask {
            names
                .iter()
                .filter_map(|name| plan.region_index(name))
                .collect()
        };
        let standing = |recorded: &RecordedStanding| {
            let ramps = recorded.ramps.iter();
            let ramps = ramps.filter_map(|(name, at)| Some((plan.region_index(name)?, *at)));
            RegionStanding {
                left: mask(&recorded.left),
                ramps: ramps.collect(),
            }
        };
        let worst = RegionStanding::worst(&self.states.values().map(standing).collect::<Vec<_>>());
        let standings = plan.judgements().iter().map(|judgement| {
            let known = self.states.get(&judgement.to_string());
            known.map_or_else(|| worst.clone(), standing)
        });
        let near = self.near.iter();
        Conditions {
            local: self.local.as_ref().and_then(|name| plan.region_index(name)),
            near: near.filter_map(|name| plan.region_index(name)).collect(),
            draining: mask(&self.draining),
            unreachable: mask(&self.unreachable),
            open,
            standings: standings.collect(),
        }
    }
}
