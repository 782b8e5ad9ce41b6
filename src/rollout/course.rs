//! How a rollout is to go, and what its leader does and tells.

use std::time::Duration;

use crate::stage::{SHARE_ALL, StageAt};
use crate::{ArmPair, GatewayReport, RolloutStage, StopReason};

/// How a rollout is to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The rollout's number.
    pub rollout: u64,
    /// When it began, in microseconds since 1970.
    pub started: u64,
    /// The regions in their order.
    pub regions: Vec<String>,
    /// How long each stage lasts once its gateways have applied it.
    pub bake: Duration,
    /// How long a gateway may take to follow.
    pub wait: Duration,
    /// The greatest share of decisions whose region may differ, of 10,000.
    pub blast_radius: u32,
    /// Whether time is judged, and not only errors.
    pub latency: bool,
    /// How many requests of the new arm a stage waits for.
    pub min_samples: u64,
}

/// What the leader has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaderStep {
    /// Nothing.
    Wait,
    /// Go on with a stage.
    Enter(StageAt),
    /// End it: the revision is in force.
    Finish,
    /// End it: the revision is taken back.
    Stop(StopReason),
}

/// The counts to tell of a stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// All decisions since the rollout began.
    pub decided: u64,
    /// Those whose region differs.
    pub changed: u64,
    /// Of the new plan's requests, those that failed or were late.
    pub exposed: u64,
    /// The arms of the stage, over all gateways of the region.
    pub arms: ArmPair,
    /// Whether there were too few requests to judge.
    pub unjudged: bool,
}

impl Course {
    /// Whether a report is about this rollout: a promotion may have lost another one of the same number, and gateways
    /// follow that one until they have seen this.
    pub(crate) fn is_of(&self, report: &GatewayReport) -> bool {
        let is_it = |started: u64| started == self.started;
        report.rollout == self.rollout && report.arms.started.is_none_or(is_it)
    }

    /// Returns the name of a stage's region.
    #[must_use]
    pub(crate) fn region_of(&self, stage: StageAt) -> Option<&str> {
        self.row_of(stage).1
    }

    /// Returns what the store's row has at a stage.
    #[must_use]
    pub(crate) fn row_of(&self, stage: StageAt) -> (RolloutStage, Option<&str>, u16) {
        match stage {
            StageAt::Shadow => (RolloutStage::Shadow, None, 0),
            StageAt::Share { region, share } => {
                let region = self.regions.get(region).map(String::as_str);
                (RolloutStage::Share, region, share)
            }
        }
    }
}

impl Told {
    /// Returns why the rollout is stopped if more decisions differ than `radius` of 10,000.
    #[must_use]
    pub(crate) fn wider_than(&self, radius: u32) -> Option<StopReason> {
        let (changed, decided) = (self.changed, self.decided);
        let times = |count: u64, share: u32| u128::from(count) * u128::from(share);
        let is_wide = times(changed, SHARE_ALL.into()) > times(decided, radius);
        is_wide.then_some(StopReason::BlastRadius { changed, decided })
    }
}
