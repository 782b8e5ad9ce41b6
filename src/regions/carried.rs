//! From one plan to the next: what the fleet has said.

use tidegate_traffic::facts::{Conditions, RegionStanding};
use tidegate_traffic::plan::{Judgement, OpenWindows, Plan, RegionIndex, RegionMask};

/// Returns what the fleet has said by another plan, until it speaks by this one.
pub(super) fn carried(conditions: &Conditions, old: &Plan, new: &Plan) -> Conditions {
    let region = |it: RegionIndex| new.region_index(old.region_id(it).as_str());
    let mask = |regions: RegionMask| regions.iter().filter_map(region).collect::<RegionMask>();
    let worst = RegionStanding::worst(&conditions.standings);
    let standing = |judgement: &Judgement| {
        let kept = old.judgements().iter().position(|it| it == judgement);
        let kept = kept.and_then(|at| conditions.standings.get(at));
        let kept = kept.unwrap_or(&worst);
        let ramp = |(it, position): &(RegionIndex, u16)| Some((region(*it)?, *position));
        RegionStanding {
            left: mask(kept.left),
            ramps: kept.ramps.iter().filter_map(ramp).collect(),
        }
    };
    let near: Vec<_> = conditions
        .near
        .iter()
        .filter_map(|it| region(*it))
        .collect();
    let others = new.all_regions().iter().filter(|it| !near.contains(it));
    Conditions {
        local: conditions.local.and_then(region),
        draining: mask(conditions.draining),
        unreachable: mask(conditions.unreachable),
        open: OpenWindows::default(),
        standings: new.judgements().iter().map(standing).collect(),
        near: near.iter().copied().chain(others).collect(),
    }
}
