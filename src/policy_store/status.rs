//! What is shown of the store on the admin listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tidegate_rollout::{
    Posture, RevisionRefusal, RolloutOutcome, RolloutPosition, RolloutStage, TrustedKeys, WorseBy,
};
use tidegate_telemetry::names;

/// What a gateway makes of the store, for others to read.
#[derive(Default)]
pub struct StoreStatus {
    shown: ArcSwap<StoreShown>,
    trust: ArcSwap<TrustedKeys>,
    unplaced: AtomicBool,
}

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreShown {
    /// The revision in force; 0 for the built-in policy or a file.
    pub revision: u32,
    /// The open rollout, else the one that has put the revision in force.
    pub rollout: Option<u64>,
    /// The stage of the open rollout.
    pub stage: Option<RolloutStage>,
    /// The revision of the open rollout.
    pub candidate: Option<u32>,
    /// The share of the keys that belongs to it, of 10,000.
    pub share: u16,
}

impl StoreStatus {
    /// Begins with the keys of the configuration.
    #[must_use]
    pub fn new(trust: TrustedKeys) -> Arc<Self> {
        let status = Self::default();
        status.trust.store(Arc::new(trust));
        Arc::new(status)
    }

    /// Replaces the keys: the configuration was read again.
    pub fn trust(&self, trust: TrustedKeys) {
        self.trust.store(Arc::new(trust));
    }

    /// Returns the state.
    #[must_use]
    pub fn shown(&self) -> Arc<StoreShown> {
        self.shown.load_full()
    }

    /// Whether it is unknown if what is in force here has survived the last promotion.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.unplaced.load(Ordering::Relaxed)
    }

    pub(super) fn show_unplaced(&self, is_unplaced: bool) {
        self.unplaced.store(is_unplaced, Ordering::Relaxed);
        metrics::gauge!(names::TRAFFIC_UNPLACED).set(f64::from(u8::from(is_unplaced)));
    }

    pub(super) fn trusted(&self) -> Arc<TrustedKeys> {
        self.trust.load_full()
    }

    pub(super) fn show(&self, posture: &Posture) {
        let trial = posture.trial.as_ref();
        let finished = (posture.rollout > 0).then_some(posture.rollout);
        let shown = StoreShown {
            revision: posture.in_force.unwrap_or_default(),
            rollout: trial.map(|it| it.rollout).or(finished),
            stage: trial.map(|it| it.stage),
            candidate: trial.map(|it| it.revision),
            share: trial.map_or(0, |it| it.share),
        };
        let before = self.shown.swap(Arc::new(shown.clone()));
        let revision = |stage: &'static str, revision: u32| {
            metrics::gauge!(names::TRAFFIC_REVISION, "stage" => stage).set(revision);
        };
        revision("active", shown.revision);
        if shown.candidate.or(before.candidate).is_some() {
            revision("candidate", shown.candidate.unwrap_or_default());
        }
        metrics::gauge!(names::TRAFFIC_SHARE).set(f64::from(shown.share) / 10_000.0);
    }
}

/// Logs and counts how a rollout has ended that this gateway has followed.
pub(super) fn show_ended(rollout: u64, outcome: RolloutOutcome) {
    tracing::info!(rollout, %outcome, "a rollout of the traffic policy has ended");
    count_ended(outcome);
}

/// Logs what is in force from now on, and whether a promotion has lost what was.
pub(super) fn show_moved(
    before: Option<RolloutPosition>,
    (position, revision): (Option<RolloutPosition>, Option<u32>),
) {
    let (rollout, timeline) = position.map_or((0, 0), |it| (it.rollout, it.timeline));
    if before.is_some() || rollout > 0 {
        let revision = revision.unwrap_or_default();
        tracing::info!(
            revision,
            rollout,
            timeline,
            "a revision of the traffic policy is in force"
        );
    }
    if before.is_some_and(|before| before.timeline < timeline && before.rollout > rollout) {
        tracing::warn!(
            rollout,
            lost = before.map(|it| it.rollout),
            "a promotion has lost rollouts: what has survived is in force"
        );
        count_ended(RolloutOutcome::Lost);
    }
}

fn count_ended(outcome: RolloutOutcome) {
    metrics::counter!(names::TRAFFIC_ROLLOUTS, "outcome" => outcome.as_str()).increment(1);
}

/// Shows the metrics before anything has happened.
pub(super) fn show_metrics() {
    for reason in RevisionRefusal::ALL {
        metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason.as_str())
            .increment(0);
    }
    for outcome in RolloutOutcome::ALL {
        metrics::counter!(names::TRAFFIC_ROLLOUTS, "outcome" => outcome.as_str()).increment(0);
    }
    for cause in WorseBy::ALL {
        metrics::counter!(names::TRAFFIC_VETOES, "cause" => cause.as_str()).increment(0);
    }
    for outcome in ["written", "failed", "ignored"] {
        metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(0);
    }
    for (arm, outcome) in [
        ("new", "answered"),
        ("new", "failed"),
        ("old", "answered"),
        ("old", "failed"),
    ] {
        let labels = [("arm", arm), ("outcome", outcome)];
        metrics::counter!(names::TRAFFIC_ARM_REQUESTS, &labels).increment(0);
    }
    metrics::gauge!(names::TRAFFIC_REVISION, "stage" => "active").set(0);
    metrics::gauge!(names::TRAFFIC_SHARE).set(0);
    metrics::gauge!(names::TRAFFIC_UNPLACED).set(0);
}
