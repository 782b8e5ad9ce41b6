//! The leader's side of a rollout: from the gateways' reports to its next step.

use std::collections::BTreeSet;
use std::time::Duration;

use self::old_arm::OldArm;
use crate::stage::{SHARE_ALL, StageAt};
use crate::worse::{ALPHA, worse};
use crate::{
    ArmCounts, Course, GatewayReport, GatewayState, LeaderStep, RolloutStage, StopReason, Told,
};

mod old_arm;

/// Decisions that the blast radius needs, while a stage lasts.
const DECISIONS_MIN: u64 = 200;

/// How many bakes a stage waits for its samples, and how often its bake begins again.
const BAKES_MAX: u32 = 10;

/// One rollout, as its leader sees it.
#[derive(Debug)]
pub struct Leading {
    course: Course,
    at: StageAt,
    entered: Duration,
    /// Since when all gateways have followed.
    baking: Option<Duration>,
    /// How often the bake of this stage has begun again.
    restarts: u32,
    /// The gateways that were alive in this stage.
    seen: BTreeSet<String>,
    /// The stage of the last [`LeaderStep::Enter`], until the store is known to have it.
    entering: Option<StageAt>,
    old: OldArm,
    /// The regions without a living gateway.
    passed_over: Vec<String>,
    /// The region that the last step leaves for want of a living gateway.
    passing_over: Option<String>,
}

impl Leading {
    /// Begins in `shadow`.
    #[must_use]
    pub fn new(course: Course, now: Duration) -> Self {
        Self {
            course,
            at: StageAt::Shadow,
            entered: now,
            baking: None,
            restarts: 0,
            seen: BTreeSet::new(),
            entering: None,
            old: OldArm::default(),
            passed_over: Vec::new(),
            passing_over: None,
        }
    }

    /// Returns the stage.
    #[must_use]
    pub fn stage(&self) -> StageAt {
        self.at
    }

    /// Returns the name of the region at work.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region_of(self.at)
    }

    /// Whether all gateways have followed.
    #[must_use]
    pub fn is_baking(&self) -> bool {
        self.baking.is_some()
    }

    /// Returns the regions that had no living gateway.
    pub fn passed_over(&self) -> impl Iterator<Item = &str> {
        let regions = self.passed_over.iter().chain(&self.passing_over);
        regions.map(String::as_str)
    }

    /// Returns what the store's row of this rollout has at a stage.
    #[must_use]
    pub fn row_of(&self, stage: StageAt) -> (RolloutStage, Option<&str>, u16) {
        match stage {
            StageAt::Shadow => (RolloutStage::Shadow, None, 0),
            StageAt::Share { share, .. } => (RolloutStage::Share, self.region_of(stage), share),
        }
    }

    /// Returns the stage of the last [`LeaderStep::Enter`] if the store's row has it and this was not
    /// recorded: the answer was lost.
    #[must_use]
    pub fn entered_unseen(&self, row: (&str, Option<&str>, u16)) -> Option<StageAt> {
        self.entering.filter(|stage| {
            let (stage, region, share) = self.row_of(*stage);
            (stage.as_str(), region, share) == row
        })
    }

    /// Records that the store has the stage of the last [`LeaderStep::Enter`].
    pub fn entered(&mut self, stage: StageAt, now: Duration) {
        let is_same_region = self.region_of(stage) == self.region_of(self.at);
        self.old.enter(is_same_region, now);
        self.passed_over.extend(self.passing_over.take());
        self.at = stage;
        self.entered = now;
        self.baking = None;
        self.restarts = 0;
        self.seen.clear();
        self.entering = None;
    }

    /// Decides what comes next.
    pub fn step(&mut self, reports: &[GatewayReport], paused: bool, now: Duration) -> LeaderStep {
        self.passing_over = None;
        let step = self.decide(reports, paused, now);
        self.entering = match step {
            LeaderStep::Enter(stage) => Some(stage),
            LeaderStep::Wait | LeaderStep::Finish | LeaderStep::Stop(_) => None,
        };
        step
    }

    fn decide(&mut self, reports: &[GatewayReport], paused: bool, now: Duration) -> LeaderStep {
        let told = self.told(reports);
        self.old.remember(&told.arms.old, now);
        let rollout = self.course.rollout;
        let alive = self.alive(reports).into_iter();
        let alive = alive.filter(|it| it.rollout == rollout);
        let alive: Vec<_> = alive.map(|it| it.gateway.clone()).collect();
        self.seen.extend(alive);
        if let Some(reason) = self.ended_by(reports) {
            return LeaderStep::Stop(reason);
        }
        if told.decided >= DECISIONS_MIN && self.is_too_wide(&told) {
            return LeaderStep::Stop(too_wide(&told));
        }
        let silent = self.silent(reports);
        if self.baking.is_some() && !silent.is_empty() {
            if self.restarts == BAKES_MAX {
                return LeaderStep::Stop(StopReason::Stalled { gateways: silent });
            }
            self.restarts += 1;
            (self.entered, self.baking) = (now, None);
        }
        let Some(since) = self.baking else {
            return self.wait_for_gateways(reports, now);
        };
        if paused {
            self.baking = Some(now);
            return LeaderStep::Wait;
        }
        let baked = now.saturating_sub(since);
        if baked < self.course.bake {
            return LeaderStep::Wait;
        }
        self.judge(&told, baked, now)
    }

    /// Returns the counts of the stage.
    #[must_use]
    pub fn told(&self, reports: &[GatewayReport]) -> Told {
        let mut told = Told::default();
        for report in self.ours(reports) {
            told.decided += report.arms.decided;
            told.changed += report.arms.changed;
            told.exposed += report.arms.exposed;
            if self.is_at_work(report) {
                told.arms.merge(&report.arms.arms);
            }
        }
        if self.has_all_keys() {
            told.arms.old = self.old.before().clone();
        }
        let enough = |arm: &ArmCounts| arm.requests >= 20;
        told.unjudged = !(enough(&told.arms.new) && enough(&told.arms.old));
        told
    }

    fn ours<'a>(
        &self,
        reports: &'a [GatewayReport],
    ) -> impl Iterator<Item = &'a GatewayReport> + use<'a> {
        let rollout = self.course.rollout;
        reports.iter().filter(move |it| it.rollout == rollout)
    }

    /// Returns the name of a stage's region.
    #[must_use]
    pub fn region_of(&self, stage: StageAt) -> Option<&str> {
        match stage {
            StageAt::Shadow => None,
            StageAt::Share { region, .. } => self.course.regions.get(region).map(String::as_str),
        }
    }

    fn has_all_keys(&self) -> bool {
        matches!(
            self.at,
            StageAt::Share {
                share: SHARE_ALL,
                ..
            }
        )
    }

    /// Whether a gateway does what the stage says.
    fn is_at_work(&self, report: &GatewayReport) -> bool {
        if report.rollout != self.course.rollout {
            return false;
        }
        match self.at {
            StageAt::Shadow => report.state == GatewayState::Loaded,
            StageAt::Share { share, .. } => {
                let here = self.region() == Some(report.region.as_str());
                here && report.state == GatewayState::Applied && report.share == share
            }
        }
    }

    fn ended_by(&self, reports: &[GatewayReport]) -> Option<StopReason> {
        let ends = |it: &&GatewayReport| it.follows() && it.state.ends_rollout();
        let report = self.ours(reports).find(ends)?;
        Some(StopReason::Gateway {
            gateway: report.gateway.clone(),
            region: report.region.clone(),
            state: report.state,
            cause: report.refused.clone().unwrap_or_default(),
            arms: report.arms.arms.clone(),
        })
    }

    fn is_too_wide(&self, told: &Told) -> bool {
        let radius = u64::from(self.course.blast_radius);
        told.changed * u64::from(SHARE_ALL) > told.decided * radius
    }

    /// Returns the gateways that the stage is about, as far as they are alive.
    fn alive<'a>(&self, reports: &'a [GatewayReport]) -> Vec<&'a GatewayReport> {
        let alive = reports.iter().filter(|it| it.follows());
        alive.filter(|it| self.is_here(it)).collect()
    }

    /// Returns the names of those that were alive in this stage, if none is alive: they may use it still.
    fn silent(&self, reports: &[GatewayReport]) -> Vec<String> {
        if !self.alive(reports).is_empty() {
            return Vec::new();
        }
        let is_silent = |it: &&GatewayReport| !it.is_alive() && self.seen.contains(&it.gateway);
        let silent = reports.iter().filter(is_silent);
        silent.map(|it| it.gateway.clone()).collect()
    }

    fn is_here(&self, report: &GatewayReport) -> bool {
        self.region().is_none_or(|own| own == report.region)
    }

    fn wait_for_gateways(&mut self, reports: &[GatewayReport], now: Duration) -> LeaderStep {
        let (alive, silent) = (self.alive(reports), self.silent(reports));
        if alive.is_empty() && silent.is_empty() && self.region().is_some() {
            self.passing_over = self.region().map(str::to_owned);
            return go_on(self.at.skip(self.course.regions.len()));
        }
        let behind = alive.iter().filter(|it| !self.is_at_work(it));
        let behind = behind.map(|it| it.gateway.clone());
        let behind: Vec<_> = behind.chain(silent).collect();
        if behind.is_empty() {
            self.baking = Some(now);
            return LeaderStep::Wait;
        }
        match now.saturating_sub(self.entered) > self.course.wait {
            true => LeaderStep::Stop(StopReason::Stalled { gateways: behind }),
            false => LeaderStep::Wait,
        }
    }

    /// Judges the stage at its end.
    fn judge(&mut self, told: &Told, baked: Duration, now: Duration) -> LeaderStep {
        if self.is_too_wide(told) {
            return LeaderStep::Stop(too_wide(told));
        }
        let requests = told.arms.new.requests;
        let in_region = self.region().map(str::to_owned);
        if in_region.is_some() && requests < self.course.min_samples {
            return match baked >= self.course.bake * BAKES_MAX {
                true => LeaderStep::Stop(StopReason::Samples { requests }),
                false => LeaderStep::Wait,
            };
        }
        let regions = self.course.regions.len().max(1);
        let latency = self.course.latency && !self.has_all_keys();
        if let Some(region) = in_region
            && let Some(by) = worse(&told.arms, latency, ALPHA / regions as f64)
        {
            return LeaderStep::Stop(StopReason::Worse {
                region,
                by: by.as_str(),
                arms: told.arms.clone(),
            });
        }
        self.old.pass(&told.arms.old, now);
        go_on(self.at.next(self.course.regions.len()))
    }
}

fn go_on(next: Option<StageAt>) -> LeaderStep {
    next.map_or(LeaderStep::Finish, LeaderStep::Enter)
}

fn too_wide(told: &Told) -> StopReason {
    StopReason::BlastRadius {
        changed: told.changed,
        decided: told.decided,
    }
}

#[cfg(test)]
mod tests;
