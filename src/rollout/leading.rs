//! The leader's side of a rollout: from the gateways' reports to its next step.

use std::time::Duration;

use self::attendance::{Attendance, Heard};
use self::old_arm::OldArm;
use crate::stage::{SHARE_ALL, StageAt};
use crate::worse::{ALPHA, worse};
use crate::{
    ArmCounts, Course, GatewayReport, GatewayState, LeaderStep, RolloutStage, StopReason, Told,
};

mod attendance;
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
    attendance: Attendance,
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
            attendance: Attendance::default(),
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
        self.course.region_of(self.at)
    }

    /// Whether all gateways have followed.
    #[must_use]
    pub fn is_baking(&self) -> bool {
        self.baking.is_some()
    }

    /// Whether the last step leaves a region in which nothing was tried.
    #[must_use]
    pub fn is_passing_over(&self) -> bool {
        self.passing_over.is_some()
    }

    /// Returns the regions that had no living gateway.
    pub fn passed_over(&self) -> impl Iterator<Item = &str> {
        let regions = self.passed_over.iter().chain(&self.passing_over);
        regions.map(String::as_str)
    }

    /// Returns what the store's row of this rollout has at a stage.
    #[must_use]
    pub fn row_of(&self, stage: StageAt) -> (RolloutStage, Option<&str>, u16) {
        self.course.row_of(stage)
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
        let is_same_region = self.course.region_of(stage) == self.course.region_of(self.at);
        self.old.enter(is_same_region, now);
        self.passed_over.extend(self.passing_over.take());
        self.at = stage;
        self.entered = now;
        self.baking = None;
        self.restarts = 0;
        // A gateway that was alive in a stage of the region may use the new plan for as long as the next ones last.
        if !is_same_region {
            self.attendance = Attendance::default();
        }
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
        let region = self.course.region_of(self.at);
        let is_here = |it: &GatewayReport| region.is_none_or(|region| it.region == region);
        let course = &self.course;
        let heard = self
            .attendance
            .call(|it| course.is_of(it), is_here, reports);
        if let Some(reason) = self.ended_by(reports) {
            return LeaderStep::Stop(reason);
        }
        let too_wide = told.wider_than(self.course.blast_radius);
        if let Some(reason) = too_wide.filter(|_| told.decided >= DECISIONS_MIN) {
            return LeaderStep::Stop(reason);
        }
        if self.baking.is_some() && heard.is_missed() {
            if self.restarts == BAKES_MAX {
                return self.give_up(heard);
            }
            self.restarts += 1;
            (self.entered, self.baking) = (now, None);
        }
        let Some(since) = self.baking else {
            return self.wait_for_gateways(heard, reports, &told, now);
        };
        if paused {
            self.baking = Some(now);
            return LeaderStep::Wait;
        }
        let baked = now.saturating_sub(since);
        let bake = self.course.bake;
        if baked < bake || !self.is_told(&heard, baked.saturating_sub(bake)) {
            return LeaderStep::Wait;
        }
        self.judge(&told, baked, now)
    }

    /// Returns the counts of the stage.
    #[must_use]
    pub fn told(&self, reports: &[GatewayReport]) -> Told {
        let mut told = Told::default();
        for report in self.ours(reports) {
            told.decided = told.decided.saturating_add(report.arms.decided);
            told.changed = told.changed.saturating_add(report.arms.changed);
            told.exposed = told.exposed.saturating_add(report.arms.exposed);
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

    fn ours<'a>(&self, reports: &'a [GatewayReport]) -> impl Iterator<Item = &'a GatewayReport> {
        let course = &self.course;
        let ours = reports.iter().filter(move |it| course.is_of(it));
        ours.filter(|it| !it.suspects_itself())
    }

    /// Whether all gateways at work have reported since the bake has ended: what they said before does not cover it.
    /// One that does not is soon not alive.
    fn is_told(&self, heard: &Heard<'_>, since_then: Duration) -> bool {
        let mut at_work = heard.alive.iter().filter(|it| self.is_at_work(it));
        at_work.all(|it| it.age <= since_then)
    }

    fn has_all_keys(&self) -> bool {
        self.course.row_of(self.at).2 == SHARE_ALL
    }

    /// Whether a gateway does what the stage says; one that is unplaced may compare it with a lost revision.
    fn is_at_work(&self, report: &GatewayReport) -> bool {
        if !self.course.is_of(report) || report.is_unplaced() {
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

    fn wait_for_gateways(
        &mut self,
        heard: Heard<'_>,
        reports: &[GatewayReport],
        told: &Told,
        now: Duration,
    ) -> LeaderStep {
        // Where none lives anywhere, gateways may follow that cannot report: nothing would be judged.
        let is_any_alive = reports.iter().any(GatewayReport::follows);
        if heard.is_nobody() && is_any_alive && self.region().is_some() {
            return self.pass_over(reports, told);
        }
        let behind = heard.alive.iter().any(|it| !self.is_at_work(it));
        if !behind && !heard.alive.is_empty() {
            self.baking = Some(now);
            return LeaderStep::Wait;
        }
        match now.saturating_sub(self.entered) > self.course.wait {
            true => self.give_up(heard),
            false => LeaderStep::Wait,
        }
    }

    /// Waits no longer, and names those that do not follow; those that are missing where no gateway confirms. None where
    /// no gateway reports.
    fn give_up(&self, heard: Heard<'_>) -> LeaderStep {
        let gateways = match heard.is_missed() {
            true => heard.missing.into_iter().collect(),
            false => {
                let behind = heard.alive.iter().filter(|it| !self.is_at_work(it));
                behind.map(|it| named(it)).collect()
            }
        };
        LeaderStep::Stop(StopReason::Stalled { gateways })
    }

    /// Goes on without the region at work, unless no region has had a stage.
    fn pass_over(&mut self, reports: &[GatewayReport], told: &Told) -> LeaderStep {
        if let Some(reason) = told.wider_than(self.course.blast_radius) {
            return LeaderStep::Stop(reason);
        }
        let regions = self.course.regions.len();
        if self.passed_over.len() + 1 >= regions {
            let living = reports.iter().filter(|it| it.follows());
            let untried =
                |it: &GatewayReport| format!("{} (no stage in {})", it.gateway, it.region);
            let gateways = living.map(untried).collect();
            return LeaderStep::Stop(StopReason::Stalled { gateways });
        }
        self.passing_over = self.region().map(str::to_owned);
        go_on(self.at.skip(regions))
    }

    /// Judges the stage at its end.
    fn judge(&mut self, told: &Told, baked: Duration, now: Duration) -> LeaderStep {
        if let Some(reason) = told.wider_than(self.course.blast_radius) {
            return LeaderStep::Stop(reason);
        }
        let requests = told.arms.new.requests;
        let in_region = self.region().map(str::to_owned);
        if in_region.is_some() && requests < self.course.min_samples {
            return match baked >= self.course.bake.saturating_mul(BAKES_MAX) {
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

/// A gateway that does not follow, and what it says about that.
fn named(report: &GatewayReport) -> String {
    match &report.refused {
        Some(reason) => format!("{} ({reason})", report.gateway),
        None => report.gateway.clone(),
    }
}

fn go_on(next: Option<StageAt>) -> LeaderStep {
    next.map_or(LeaderStep::Finish, LeaderStep::Enter)
}

#[cfg(test)]
mod tests;
