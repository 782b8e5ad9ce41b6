//! Bounded and claimed staleness: what was acknowledged longer ago than that must be visible.

use std::collections::HashMap;
use std::time::Duration;

use super::fate::Fate;
use super::{Guarantee, Violation};
use crate::consistency::history::{Action, Answer, Operation, Version};

/// The acknowledged writes of each key in the order of their acknowledgement, each with the highest
/// version acknowledged up to then.
#[derive(Default)]
pub(super) struct Acknowledged(HashMap<usize, Vec<(Duration, Version)>>);

/// Until a promotion that loses something an answer must show everything acknowledged, after it
/// what was kept of that.
pub(super) fn judge(fate: &Fate<'_>) -> Vec<Violation> {
    let operations = &fate.history.operations;
    let all = Acknowledged::of(operations, |_| true);
    let kept = Acknowledged::of(operations, |answer| !fate.is_lost(answer.value));
    let broken = |operation: &Operation| match operation.answer() {
        Some(answer) if fate.precedes_loss(operation.completed) => {
            all.too_old(operation, answer.version)
        }
        Some(answer) => kept.too_old(operation, fate.kept_version(operation.key, answer)),
        None => Vec::new(),
    };
    let too_old = operations.iter().flat_map(broken);
    let overdrawn = operations.iter().filter_map(overdrawn);
    too_old.chain(overdrawn).collect()
}

/// Whether an answer itself states that it is not within the requested bound.
fn overdrawn(operation: &Operation) -> Option<Violation> {
    let (_, bound, answer) = operation.read()?;
    let (bound, claimed) = (bound?, answer.staleness?);
    let why = format!("it claims {claimed:?} where {bound:?} was requested");
    (claimed > bound).then(|| Violation::of(Guarantee::ClaimWithinBound, operation, &why))
}

impl Acknowledged {
    pub(super) fn of(operations: &[Operation], counts: impl Fn(&Answer) -> bool) -> Self {
        let mut keys: HashMap<usize, Vec<_>> = HashMap::new();
        for operation in operations {
            let answer = operation.answer().filter(|answer| counts(answer));
            if let (Action::Write(_), Some(answer)) = (operation.action, answer) {
                let writes = keys.entry(operation.key).or_default();
                writes.push((operation.completed, answer.version));
            }
        }
        for writes in keys.values_mut() {
            writes.sort_unstable();
            let mut highest = 0;
            for (_, version) in writes {
                highest = highest.max(*version);
                *version = highest;
            }
        }
        Self(keys)
    }

    /// The highest version acknowledged before a moment.
    pub(super) fn before(&self, key: usize, moment: Duration) -> Version {
        let writes = self.0.get(&key).map_or(&[][..], Vec::as_slice);
        let count = writes.partition_point(|(at, _)| *at < moment);
        count.checked_sub(1).map_or(0, |last| writes[last].1)
    }

    fn too_old(&self, operation: &Operation, shown: Version) -> Vec<Violation> {
        let Some((_, bound, answer)) = operation.read() else {
            return Vec::new();
        };
        let limits = [
            (Guarantee::WithinBound, bound),
            (Guarantee::HonestStaleness, answer.staleness),
        ];
        let judge = |(guarantee, limit): (Guarantee, Option<Duration>)| {
            let moment = operation.invoked.checked_sub(limit?)?;
            let version = self.before(operation.key, moment);
            let why = format!("version {version} was acknowledged by {moment:?}");
            (shown < version).then(|| Violation::of(guarantee, operation, &why))
        };
        limits.into_iter().filter_map(judge).collect()
    }
}
