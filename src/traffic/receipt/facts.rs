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
        let mut near = HashSet::new();
        if !self.near.iter().all(|name| near.insert(name)) {
            return Err(ReceiptError::Field("order of regions: one is in it twice"));
        }
        let mut ramps = self.states.values().flat_map(|state| state.ramps.values());
        match ramps.all(|position| *position <= RAMP_END) {
            true => Ok(()),
            false => Err(ReceiptError::Field("ramp")),
        }
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
