//! The stages of a rollout, one after the other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// All keys.
pub const SHARE_ALL: u16 = 10_000;

/// The shares of a region's keys, one after the other, of 10,000.
pub const SHARES: [u16; 3] = [500, 2_500, SHARE_ALL];

/// What gateways do with the new plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutStage {
    /// It decides beside the old one, and nothing is done with it.
    Shadow,
    /// A share of a region's keys belongs to it.
    Share,
}

/// A stage, by the place of its region in the order of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageAt {
    /// In all regions.
    Shadow,
    /// In one region; those before it have finished.
    Share {
        /// Its place in the order.
        region: usize,
        /// The share of its keys, of 10,000.
        share: u16,
    },
}

impl RolloutStage {
    /// Returns its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Share => "share",
        }
    }
}

impl fmt::Display for RolloutStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StageAt {
    /// Returns the next stage; none after the last.
    #[must_use]
    pub fn next(self, regions: usize) -> Option<Self> {
        let of = |region, share| Self::Share { region, share };
        match self {
            Self::Shadow => (regions > 0).then(|| of(0, SHARES[0])),
            Self::Share { region, share } => match SHARES.iter().find(|it| **it > share) {
                Some(greater) => Some(of(region, *greater)),
                None => self.skip(regions),
            },
        }
    }

    /// Returns the first stage of the next region; none after the last.
    #[must_use]
    pub fn skip(self, regions: usize) -> Option<Self> {
        let region = match self {
            Self::Shadow => 0,
            Self::Share { region, .. } => region + 1,
        };
        let share = SHARES[0];
        (region < regions).then_some(Self::Share { region, share })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_comes_first_then_each_region_by_its_shares() {
        let mut stages = vec![StageAt::Shadow];
        while let Some(next) = stages[stages.len() - 1].next(2) {
            stages.push(next);
        }
        let share = |region, share| StageAt::Share { region, share };
        let expected = [
            StageAt::Shadow,
            share(0, 500),
            share(0, 2_500),
            share(0, 10_000),
            share(1, 500),
            share(1, 2_500),
            share(1, 10_000),
        ];
        assert_eq!(stages, expected);
        assert_eq!(StageAt::Shadow.next(0), None);
    }
}
