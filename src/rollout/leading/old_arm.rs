//! The old arm of the last minute: while the new plan has all keys there is none.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ArmCounts;
use crate::windows::OLD_ARM;

/// How often the old arm is remembered.
const REMEMBER: Duration = Duration::from_secs(2);

/// The old arm of a region.
#[derive(Debug, Default)]
pub(super) struct OldArm {
    /// That of the last minute of the stage before.
    before: ArmCounts,
    /// That of this stage by time, back to the newest that is a minute old.
    since: VecDeque<(Duration, ArmCounts)>,
}

impl OldArm {
    /// Begins another stage.
    pub(super) fn enter(&mut self, is_same_region: bool, now: Duration) {
        if !is_same_region {
            self.before = ArmCounts::default();
        }
        self.since = VecDeque::from([(now, ArmCounts::default())]);
    }

    /// Remembers the counts of this stage.
    pub(super) fn remember(&mut self, old: &ArmCounts, now: Duration) {
        let is_old = |(at, _): &(Duration, ArmCounts)| now.saturating_sub(*at) >= OLD_ARM;
        while self.since.get(1).is_some_and(is_old) {
            self.since.pop_front();
        }
        let newest = self.since.back().map(|(at, _)| *at);
        if newest.is_none_or(|at| now.saturating_sub(at) >= REMEMBER) {
            self.since.push_back((now, old.clone()));
        }
    }

    /// Ends the stage: its last minute counts in the next one.
    pub(super) fn pass(&mut self, old: &ArmCounts, now: Duration) {
        let oldest = self.since.front();
        self.before = match oldest.filter(|(at, _)| now.saturating_sub(*at) >= OLD_ARM) {
            Some((_, before)) => old.since(before),
            None => old.clone(),
        };
    }

    /// Returns the counts of the stage before.
    pub(super) fn before(&self) -> &ArmCounts {
        &self.before
    }
}
