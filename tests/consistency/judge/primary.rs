//! One primary: a gateway that has served a later timeline has no use for an earlier one's primary.

use std::time::Duration;

use tidegate_model::Timeline;

use super::{Guarantee, Violation};
use crate::consistency::history::{History, Operation};

pub(super) fn judge(history: &History) -> Vec<Violation> {
    let mut gateways: Vec<_> = history.operations.iter().map(|it| it.gateway).collect();
    gateways.sort_unstable();
    gateways.dedup();
    let judge = |gateway| judge_gateway(history, gateway);
    gateways.into_iter().flat_map(judge).collect()
}

fn judge_gateway(history: &History, gateway: usize) -> Vec<Violation> {
    let through_it = || history.operations.iter().filter(|it| it.gateway == gateway);
    let begun = first_served(through_it());
    let broken = |operation: &Operation| {
        let timeline = operation.strong()?.timeline()?;
        let served =
            |(later, at): &&(Timeline, Duration)| *later > timeline && *at < operation.invoked;
        let (later, at) = begun.iter().find(served)?;
        let why = format!("timeline {later} was served at {at:?}, this is {timeline}");
        Some(Violation::of(Guarantee::OnePrimary, operation, &why))
    };
    through_it().filter_map(broken).collect()
}

/// Each timeline and the moment from which it was known to be served.
fn first_served<'a>(operations: impl Iterator<Item = &'a Operation>) -> Vec<(Timeline, Duration)> {
    let mut begun: Vec<(Timeline, Duration)> = Vec::new();
    for operation in operations {
        let Some(timeline) = operation.answer().and_then(|answer| answer.timeline()) else {
            continue;
        };
        match begun.iter_mut().find(|(known, _)| *known == timeline) {
            Some((_, at)) => *at = operation.completed.min(*at),
            None => begun.push((timeline, operation.completed)),
        }
    }
    begun
}
