//! An operator's drain of a region.

use std::time::Duration;

use crate::record::{DRAIN_SECONDS_MAX, Record};

/// A drain: the greatest version counts, and one with no time left is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Drain {
    pub(crate) version: u32,
    /// When it ends.
    pub(crate) ends: Duration,
}

impl Drain {
    /// Returns the drain that a record tells of.
    pub(crate) fn of(record: &Record, received: Duration) -> Self {
        Self {
            version: record.drain_version,
            ends: received + Duration::from_secs(record.drain_seconds.into()),
        }
    }

    /// Returns the one that comes after this one, for some time from now.
    pub(crate) fn next(self, time: Duration, now: Duration) -> Self {
        let longest = Duration::from_secs(DRAIN_SECONDS_MAX.into());
        Self {
            version: self.version.saturating_add(1),
            ends: now + time.min(longest),
        }
    }

    pub(crate) fn left(self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }

    /// Returns the whole seconds left, and one while less is: 0 is the end.
    ///
    /// Rounded down, since a record is half a second old on average when it is adopted: so a drain does
    /// not become longer from one restart to the next.
    pub(crate) fn seconds(self, now: Duration) -> u32 {
        let left = self.left(now);
        let begun = u64::from(!left.is_zero());
        left.as_secs().max(begun).min(DRAIN_SECONDS_MAX.into()) as u32
    }
}
