//! What a gateway reads of the policy store: one statement, one snapshot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{RolloutStage, SHARE_ALL};

/// A place in the order of all rollouts. After a promotion the new timeline's rows count, even where
/// they are older: that is what has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutPosition {
    /// The timeline on which the rollout was read.
    pub timeline: u32,
    /// Its number; 0 before the first.
    pub rollout: u64,
}

/// The store at one moment, as one node shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreView {
    /// The database's system identifier, if it could be read.
    pub system: Option<u64>,
    /// The node's timeline; 0 if it could not be read.
    pub timeline: u32,
    /// Whether this is the primary's word or at most ten seconds old.
    pub is_current: bool,
    /// The greatest number of a rollout, open or not.
    pub newest: u64,
    /// The open rollout.
    pub open: Option<OpenRollout>,
    /// How the rollout that this gateway knows as open has ended, if it has.
    pub ended: Option<RolloutOutcome>,
    /// The newest one that has finished.
    pub finished: Option<FinishedRollout>,
    /// The newest one that has finished and whose revision is not below the floor.
    pub above_floor: Option<FinishedRollout>,
    /// The revisions of these, and the one in force.
    pub revisions: Vec<RevisionHead>,
}

impl StoreView {
    /// Returns the place of a rollout that this node shows.
    #[must_use]
    pub fn at(&self, rollout: u64) -> RolloutPosition {
        RolloutPosition {
            timeline: self.timeline,
            rollout,
        }
    }
}

/// The open rollout.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct OpenRollout {
    /// Its number.
    pub rollout: u64,
    /// When it began, in microseconds since 1970: after a promotion another one may have its number.
    pub started: u64,
    /// The new revision.
    pub revision: u32,
    /// What was in force before.
    pub base: u32,
    /// How long each stage bakes, in milliseconds.
    pub bake_ms: u64,
    /// The regions in their order.
    pub regions: Vec<String>,
    /// The stage.
    pub stage: RolloutStage,
    /// The region at work.
    pub region: Option<String>,
    /// The share of its keys, of 10,000.
    pub share: u16,
    /// Counted up by the leader.
    pub beat: u64,
    /// Whether the bake stands still.
    pub paused: bool,
    /// `errors,latency` or `errors`.
    pub judge: String,
}

/// How a rollout has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutOutcome {
    /// Its revision is in force.
    Done,
    /// An operator has ended it.
    Aborted,
    /// It was found bad.
    Stopped,
    /// Its leader was gone.
    Expired,
    /// A promotion has lost it.
    Lost,
}

impl RolloutOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Aborted,
        Self::Stopped,
        Self::Expired,
        Self::Lost,
    ];

    /// Returns its name in the store and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Stopped => "stopped",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }

    /// Returns the outcome of a name in the store.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

impl fmt::Display for RolloutOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rollout that has finished, or one that is compared with such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct FinishedRollout {
    /// Its number; 0 before the first.
    pub rollout: u64,
    /// When it began, in microseconds since 1970; 0 if that is not known. It is not shown.
    #[serde(skip_serializing)]
    pub started: u64,
    /// Its revision; 0 for the built-in policy.
    pub revision: u32,
}

impl FinishedRollout {
    /// Whether this is the same rollout: after a promotion that has lost one, another may have its number.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let is_known = self.started > 0 && other.started > 0;
        (self.rollout, self.revision) == (other.rollout, other.revision)
            && (self.started == other.started || !is_known)
    }
}

/// A revision without its text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RevisionHead {
    /// Its number.
    pub revision: u32,
    /// The transaction that wrote the row.
    pub version: String,
    /// The length of its text in bytes.
    pub bytes: usize,
    /// The digest of its text.
    pub sha256: String,
}

impl OpenRollout {
    /// Returns the share of a region's keys that belongs to the new plan.
    #[must_use]
    pub fn share_in(&self, region: &str) -> u16 {
        let place = |name: &str| self.regions.iter().position(|it| it == name);
        let at = self.region.as_deref().and_then(place);
        match (self.stage, place(region), at) {
            (RolloutStage::Share, Some(own), Some(at)) if own < at => SHARE_ALL,
            (RolloutStage::Share, Some(own), Some(at)) if own == at => self.share.min(SHARE_ALL),
            _ => 0,
        }
    }

    /// Whether time is judged, and not only errors.
    #[must_use]
    pub fn judges_latency(&self) -> bool {
        self.judge.split(',').any(|it| it.trim() == "latency")
    }
}
