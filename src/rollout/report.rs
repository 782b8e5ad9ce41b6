//! What gateways report to the leader.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ArmReport, FinishedRollout};

/// For how long a gateway that has reported counts as alive.
pub const ALIVE: Duration = Duration::from_secs(30);

/// What a gateway reports as its reason while it cannot tell whether what it reads has survived the last promotion.
pub const UNPLACED: &str = "timeline";

/// What a gateway does with the open rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayState {
    /// It decides by the revision in force.
    InForce,
    /// The new plan decides beside it.
    Loaded,
    /// The new plan has its share of the keys.
    Applied,
    /// It has found the new plan worse, and does not use it again.
    Vetoed,
    /// It has lost sight of the leader while it used the new plan, and does not use it again.
    Lapsed,
    /// It cannot take over the revision.
    Refused,
    /// It suspects itself: it neither confirms nor stops a rollout.
    Suspect,
    /// It has a policy file, and reads no store.
    Pinned,
    /// Its row cannot be read: it is of another version, perhaps.
    Unknown,
}

/// A gateway's row.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayReport {
    /// Its id.
    pub gateway: String,
    /// Its region.
    pub region: String,
    /// The version of its program.
    pub version: String,
    /// The newest language that it reads.
    pub language: u32,
    /// The rollout that its state is about.
    pub rollout: u64,
    /// The revision that its state is about.
    pub revision: u32,
    /// The share of keys that belongs to the new plan, of 10,000.
    pub share: u16,
    /// Its state.
    pub state: GatewayState,
    /// Why it has refused or vetoed.
    pub refused: Option<String>,
    /// Since when it has not reported, by the primary's clock.
    pub age: Duration,
    /// What it has counted.
    pub arms: ArmReport,
}

impl GatewayReport {
    /// Whether it is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.age < ALIVE
    }

    /// Whether it is alive and follows rollouts.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.is_alive() && !matches!(self.state, GatewayState::Pinned | GatewayState::Unknown)
    }

    /// Whether it is about a rollout: a promotion may have lost another one with the same numbers. A version that does
    /// not say when its rollout began is believed.
    #[must_use]
    pub fn is_about(&self, rollout: &FinishedRollout) -> bool {
        let said = FinishedRollout {
            rollout: self.rollout,
            started: self.arms.started.unwrap_or_default(),
            revision: self.revision,
        };
        said.is_same(rollout)
    }

    /// Whether it cannot tell whether what it reads has survived the last promotion.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.refused.as_deref() == Some(UNPLACED)
    }

    /// Whether it suspects itself, or did when it last reported.
    #[must_use]
    pub fn suspects_itself(&self) -> bool {
        self.state == GatewayState::Suspect
    }
}

impl GatewayState {
    /// Returns its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in-force",
            Self::Loaded => "loaded",
            Self::Applied => "applied",
            Self::Vetoed => "vetoed",
            Self::Lapsed => "lapsed",
            Self::Refused => "refused",
            Self::Suspect => "suspect",
            Self::Pinned => "pinned",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a rollout that has such a gateway ends.
    #[must_use]
    pub fn ends_rollout(self) -> bool {
        matches!(self, Self::Vetoed | Self::Lapsed | Self::Refused)
    }
}

impl FromStr for GatewayState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [
            Self::InForce,
            Self::Loaded,
            Self::Applied,
            Self::Vetoed,
            Self::Lapsed,
            Self::Refused,
            Self::Suspect,
            Self::Pinned,
        ];
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| format!("\"{text}\" is not a gateway's state"))
    }
}

impl fmt::Display for GatewayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
