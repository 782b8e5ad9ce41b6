//! A gateway's side of rollouts: from what it reads to what it decides by.

use std::time::Duration;

use self::trial::Trialling;
pub use self::trial::{Admission, LEASE, OnTrial};
use crate::{
    FinishedRollout, GatewayState, OpenRollout, RevisionRefusal, RolloutOutcome, RolloutPosition,
    StoreView, WorseBy,
};

mod trial;

/// What a gateway follows.
#[derive(Debug, Default)]
pub struct Following {
    region: String,
    in_force: Option<(RolloutPosition, u32)>,
    /// Why the newest finished rollout is not in force here.
    refused: Option<RevisionRefusal>,
    trial: Option<Trialling>,
    /// The newest rollout that was seen to have ended.
    ended: Option<RolloutPosition>,
}

/// What a gateway decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posture {
    /// The revision in force; 0 for the built-in policy, nothing before the store was read.
    pub in_force: Option<u32>,
    /// The finished rollout that has put it in force.
    pub rollout: u64,
    /// The new plan, while a rollout is open and its revision can be used.
    pub trial: Option<OnTrial>,
    /// What is reported.
    pub state: GatewayState,
    /// Why a revision is refused, or the new plan vetoed.
    pub refused: Option<&'static str>,
}

/// What a look at the store has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether another rollout is in force now.
    pub is_moved: bool,
    /// How the rollout that was known as open has ended, if it has.
    pub ended: Option<(u64, RolloutOutcome)>,
}

impl Following {
    /// Begins with what the state file says was in force.
    #[must_use]
    pub fn new(region: &str, saved: Option<(RolloutPosition, u32)>) -> Self {
        Self {
            region: region.to_owned(),
            in_force: saved,
            ..Self::default()
        }
    }

    /// Forgets everything: the database is another one.
    pub fn forget(&mut self) {
        *self = Self::new(&self.region, None);
    }

    /// Takes in what the store shows; returns what that has changed.
    pub fn observe(
        &mut self,
        view: &StoreView,
        admission: &impl Fn(u32) -> Admission,
        now: Duration,
    ) -> Observed {
        let is_moved = self.observe_finished(view, admission);
        let ended = self.observe_end(view);
        self.observe_open(view, admission, now);
        Observed { is_moved, ended }
    }

    /// Ends the use of the new plan on this gateway, for the rest of the rollout.
    pub fn veto(&mut self, cause: WorseBy) {
        if let Some(trial) = &mut self.trial {
            trial.vetoed.get_or_insert(cause);
        }
    }

    /// Returns the place in the order of the rollout in force, if one is known.
    #[must_use]
    pub fn position(&self) -> Option<RolloutPosition> {
        self.in_force.map(|(position, _)| position)
    }

    /// Whether a rollout is open, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.trial.is_some()
    }

    /// Returns the revision in force; 0 for the built-in policy, nothing before the store was read.
    #[must_use]
    pub fn in_force(&self) -> Option<u32> {
        self.in_force.map(|(_, revision)| revision)
    }

    /// Returns the open rollout, if one is known.
    #[must_use]
    pub fn open_rollout(&self) -> Option<&OpenRollout> {
        self.trial.as_ref().map(|trial| &trial.row)
    }

    /// Returns what to decide by now. A lease that has run out while the new plan was used is remembered.
    pub fn posture(&mut self, now: Duration) -> Posture {
        let in_force = self.in_force();
        let rollout = self.in_force.map_or(0, |(position, _)| position.rollout);
        let region = &self.region;
        let Some(trial) = &mut self.trial else {
            return Posture {
                in_force,
                rollout,
                trial: None,
                state: match self.refused {
                    Some(reason) if reason.is_final() => GatewayState::Refused,
                    Some(_) | None => GatewayState::InForce,
                },
                refused: self.refused.map(RevisionRefusal::as_str),
            };
        };
        let share = trial.share(region, now);
        Posture {
            in_force,
            rollout,
            trial: trial.plan(share),
            state: trial.state(share),
            refused: trial
                .refused()
                .or(self.refused.map(RevisionRefusal::as_str)),
        }
    }

    fn observe_finished(
        &mut self,
        view: &StoreView,
        admission: &impl Fn(u32) -> Admission,
    ) -> bool {
        let shown = |finished: Option<FinishedRollout>| {
            let position = view.at(finished.map_or(0, |it| it.rollout));
            (position, finished.map_or(0, |it| it.revision))
        };
        let (position, revision) = shown(view.finished);
        let refusal = |revision| match admission(revision) {
            Admission::Refused(reason) => Some(reason),
            Admission::Usable | Admission::Unknown => None,
        };
        if let Some((known, in_force)) = self.in_force
            && position <= known
        {
            // Nothing moves; but the row of what is in force may have been changed.
            self.refused = refusal(in_force);
            return false;
        }
        self.refused = refusal(revision);
        let next = match self.refused {
            Some(RevisionRefusal::Floor) => self.above_floor(view).map(|it| shown(Some(it))),
            Some(_) | None => Some((position, revision)),
        };
        let next = next.filter(|(_, revision)| admission(*revision) == Admission::Usable);
        self.in_force = next.or(self.in_force);
        next.is_some()
    }

    /// Returns the rollout to follow where the newest one goes below the floor: another gateway, which has
    /// seen it in force, has stayed with it.
    fn above_floor(&self, view: &StoreView) -> Option<FinishedRollout> {
        let known = self.position();
        let newer = view
            .above_floor
            .filter(|it| known.is_none_or(|known| view.at(it.rollout) > known));
        // A promotion that has lost what was in force leaves nothing to go back to.
        let is_lost = known.is_some_and(|known| known.timeline < view.timeline);
        newer.filter(|it| it.revision > 0 || !is_lost)
    }

    /// Drops the open rollout once it has ended, and returns how.
    fn observe_end(&mut self, view: &StoreView) -> Option<(u64, RolloutOutcome)> {
        let trial = self.trial.as_ref()?;
        let (position, rollout) = (trial.position(), trial.row.rollout);
        let is_open = view.open.as_ref().is_some_and(|it| trial.is_same(it));
        // A node that is behind may not have seen it begin.
        if is_open || view.at(view.newest) < position {
            return None;
        }
        self.ended = self.ended.max(Some(position));
        self.trial = None;
        Some((rollout, view.ended.unwrap_or(RolloutOutcome::Lost)))
    }

    fn observe_open(
        &mut self,
        view: &StoreView,
        admission: &impl Fn(u32) -> Admission,
        now: Duration,
    ) {
        let at = |rollout| view.at(rollout);
        let Some(open) = &view.open else { return };
        let newest = self.ended.max(self.position());
        if newest.is_some_and(|newest| at(open.rollout) <= newest) {
            return;
        }
        match &mut self.trial {
            Some(trial) if trial.is_same(open) => {
                if view.timeline < trial.timeline {
                    return;
                }
                // It has survived a promotion, and so does a veto.
                trial.timeline = view.timeline;
                trial.renew(open, view.is_current, now);
            }
            // A row that arrives late.
            Some(trial) if at(open.rollout) <= trial.position() => return,
            _ => self.trial = Some(Trialling::new(open, view.timeline)),
        }
        if let Some(trial) = &mut self.trial {
            trial.admission = admission(trial.row.revision);
        }
    }
}

#[cfg(test)]
mod tests;
