//! The plans that decide: the one in force and, while a rollout is open, the one that may follow it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::TrafficPolicy;
use tidegate_rollout::{ArmPair, ArmReport};
use tidegate_telemetry::names;

/// The plans that decide, swapped as one value.
#[derive(Clone, Default)]
pub struct TrafficPlans {
    /// The policy in force; without one, every request is served here.
    pub in_force: Option<Arc<TrafficPolicy>>,
    /// The one that may follow it.
    pub trial: Option<PolicyTrial>,
    /// Whether the policy in force is a file of this gateway: it follows no rollouts.
    pub pinned: bool,
}

/// The plan of an open rollout.
#[derive(Clone)]
pub struct PolicyTrial {
    /// Decides beside the policy in force.
    pub policy: Arc<TrafficPolicy>,
    /// The rollout.
    pub rollout: u64,
    /// When it began, in microseconds since 1970.
    pub started: u64,
    /// The share of the keys that belongs to it here, of 10,000.
    pub share: u16,
    /// What is counted.
    pub counters: Arc<TrialCounters>,
}

/// What a gateway counts of a rollout.
#[derive(Default)]
pub struct TrialCounters {
    decided: AtomicU64,
    changed: AtomicU64,
    stage: Mutex<Stage>,
}

/// The counts of one stage.
#[derive(Default)]
struct Stage {
    share: u16,
    arms: ArmPair,
    /// Requests of the new arm that failed or were late in the stages before.
    exposed_before: u64,
    /// Whether the arms stay what they are, for the report of a veto.
    kept: bool,
}

/// Which plan a request was decided by, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    New,
    Old,
}

impl Arm {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
        }
    }
}

impl Stage {
    fn exposed(&self) -> u64 {
        let [late, _] = self.arms.late();
        let new = &self.arms.new;
        self.exposed_before + (new.errors + late).min(new.requests)
    }
}

impl TrialCounters {
    /// Begins a stage: its arms are counted anew.
    pub fn begin(&self, share: u16) {
        let mut stage = self.lock();
        if stage.share != share && !stage.kept {
            let exposed_before = stage.exposed();
            *stage = Stage {
                share,
                exposed_before,
                ..Stage::default()
            };
        }
    }

    /// Keeps the arms as they are until the rollout ends: what they say has led to a veto.
    pub fn keep(&self) {
        self.lock().kept = true;
    }

    /// Returns the counts.
    #[must_use]
    pub fn report(&self) -> ArmReport {
        let stage = self.lock();
        ArmReport {
            started: None,
            signed_only: false,
            decided: self.decided.load(Ordering::Relaxed),
            changed: self.changed.load(Ordering::Relaxed),
            exposed: stage.exposed(),
            arms: stage.arms.clone(),
        }
    }

    /// Counts a request; `arm` is the plan that was used if they differ.
    pub(super) fn count(&self, arm: Option<Arm>, failed: bool, took: Duration) {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let Some(arm) = arm else { return };
        self.changed.fetch_add(1, Ordering::Relaxed);
        let outcome = if failed { "failed" } else { "answered" };
        let labels = [("arm", arm.as_str()), ("outcome", outcome)];
        metrics::counter!(names::TRAFFIC_ARM_REQUESTS, &labels).increment(1);
        let mut stage = self.lock();
        match arm {
            Arm::New => stage.arms.new.add(failed, took),
            Arm::Old if stage.kept => {}
            Arm::Old => stage.arms.old.add(failed, took),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        // A panic while the lock is held loses a count at worst.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vetos_counts_are_kept_though_its_share_goes_to_nothing() {
        let counters = TrialCounters::default();
        counters.begin(500);
        counters.count(Some(Arm::New), true, Duration::ZERO);
        counters.count(Some(Arm::Old), false, Duration::ZERO);
        counters.keep();
        let before = counters.report().arms;
        counters.begin(0);
        counters.count(Some(Arm::Old), false, Duration::ZERO);
        assert_eq!((before.new.errors, before.old.requests), (1, 1));
        assert_eq!(counters.report().arms, before);
        assert_eq!(counters.report().decided, 3);
    }
}
