//! How a rollout is to go, and what its leader does and tells.

use std::time::Duration;

use crate::stage::StageAt;
use crate::{ArmPair, StopReason};

/// How a rollout is to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The rollout's number.
    pub rollout: u64,
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
