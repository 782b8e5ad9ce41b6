//! The open rollout on one gateway: lease, share, veto.

use std::time::Duration;

use crate::{GatewayState, OpenRollout, RevisionRefusal, RolloutPosition, RolloutStage, WorseBy};

/// How long a stage is used without a sign of its leader.
pub const LEASE: Duration = Duration::from_secs(10);

/// Whether a revision can be used on this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its text has not been read yet.
    Unknown,
    /// It is checked, compiled and tested.
    Usable,
    /// It is refused.
    Refused(RevisionRefusal),
}

/// The new plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTrial {
    /// The rollout.
    pub rollout: u64,
    /// When it began, in microseconds since 1970.
    pub started: u64,
    /// Its revision.
    pub revision: u32,
    /// Its stage.
    pub stage: RolloutStage,
    /// The share of the keys that belongs to it here, of 10,000.
    pub share: u16,
    /// Whether time is judged, and not only errors.
    pub latency: bool,
}

/// The open rollout, as this gateway has seen it.
#[derive(Debug)]
pub(super) struct Trialling {
    pub(super) row: OpenRollout,
    pub(super) timeline: u32,
    /// When the leader was last seen to count up.
    moved_at: Option<Duration>,
    pub(super) admission: Admission,
    lapsed: bool,
    pub(super) vetoed: Option<WorseBy>,
    /// Whether the new plan has had keys here.
    used: bool,
}

impl Trialling {
    pub(super) fn new(row: &OpenRollout, timeline: u32) -> Self {
        Self {
            row: row.clone(),
            timeline,
            moved_at: None,
            admission: Admission::Unknown,
            lapsed: false,
            vetoed: None,
            used: false,
        }
    }

    pub(super) fn position(&self) -> RolloutPosition {
        RolloutPosition {
            timeline: self.timeline,
            rollout: self.row.rollout,
        }
    }

    /// Whether a row is that of this rollout, by what never changes in it.
    pub(super) fn is_same(&self, row: &OpenRollout) -> bool {
        let fixed = |it: &OpenRollout| (it.rollout, it.started, it.revision, it.base);
        fixed(row) == fixed(&self.row) && row.regions == self.row.regions
    }

    /// Takes in the row as it is now; an older one moves nothing.
    pub(super) fn renew(&mut self, row: &OpenRollout, is_current: bool, now: Duration) {
        if row.beat < self.row.beat {
            return;
        }
        if row.beat > self.row.beat && is_current {
            self.moved_at = Some(now);
        }
        self.row = row.clone();
    }

    pub(super) fn share(&mut self, region: &str, now: Duration) -> u16 {
        let is_led = |at: Duration| now.saturating_sub(at) <= LEASE;
        let is_led = self.moved_at.is_some_and(is_led);
        self.lapsed |= self.used && !is_led;
        let is_usable = self.admission == Admission::Usable && self.vetoed.is_none();
        if !is_led || self.lapsed || !is_usable {
            return 0;
        }
        let share = self.row.share_in(region);
        self.used |= share > 0;
        share
    }

    pub(super) fn state(&self, share: u16) -> GatewayState {
        match self.admission {
            Admission::Refused(reason) if reason.is_final() => GatewayState::Refused,
            Admission::Refused(_) | Admission::Unknown => GatewayState::InForce,
            Admission::Usable if self.vetoed.is_some() => GatewayState::Vetoed,
            Admission::Usable if self.lapsed => GatewayState::Lapsed,
            Admission::Usable if share > 0 => GatewayState::Applied,
            Admission::Usable => GatewayState::Loaded,
        }
    }

    /// Returns the new plan, if its revision can be used.
    pub(super) fn plan(&self, share: u16) -> Option<OnTrial> {
        (self.admission == Admission::Usable).then(|| OnTrial {
            rollout: self.row.rollout,
            started: self.row.started,
            revision: self.row.revision,
            stage: self.row.stage,
            share,
            latency: self.row.judges_latency(),
        })
    }

    /// Why it is refused or vetoed here, if it is.
    pub(super) fn refused(&self) -> Option<&'static str> {
        match (self.admission, self.vetoed) {
            (Admission::Refused(reason), _) => Some(reason.as_str()),
            (_, Some(cause)) => Some(cause.as_str()),
            _ => None,
        }
    }
}
