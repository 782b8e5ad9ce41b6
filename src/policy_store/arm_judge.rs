//! A gateway's judgement of the open rollout, by what it counts itself.

use std::time::Duration;

use tidegate_rollout::{OnTrial, WindowJudge, WorseBy};
use tidegate_telemetry::names;

use crate::regions::TrialCounters;

/// How often the arms are judged.
const WINDOW: Duration = Duration::from_secs(2);

/// Judges the arms of one rollout after the other.
#[derive(Default)]
pub(super) struct ArmJudge {
    /// Its number, and when it began.
    rollout: (u64, u64),
    windows: WindowJudge,
    judged_at: Duration,
}

impl ArmJudge {
    /// Looks at the arms when a window has passed; returns in what the new plan is worse.
    pub(super) fn step(
        &mut self,
        trial: &OnTrial,
        counters: &TrialCounters,
        now: Duration,
    ) -> Option<WorseBy> {
        let of = (trial.rollout, trial.started);
        if self.rollout != of {
            (self.rollout, self.windows) = (of, WindowJudge::default());
        }
        if trial.share == 0 || now.saturating_sub(self.judged_at) < WINDOW {
            return None;
        }
        self.judged_at = now;
        let counted = counters.report().arms;
        let stage = (trial.share, trial.latency);
        let cause = self.windows.step(&counted, stage, now)?;
        let (rollout, revision) = (trial.rollout, trial.revision);
        tracing::error!(rollout, revision, %cause, "the new revision of the traffic policy is worse: vetoed");
        metrics::counter!(names::TRAFFIC_VETOES, "cause" => cause.as_str()).increment(1);
        counters.keep();
        Some(cause)
    }
}
