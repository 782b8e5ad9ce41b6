//! The leader's side of a rollout: from the gateways' reports to its next step.

use std::collections::VecDeque;
use std::time::Duration;

use crate::stage::{SHARE_ALL, StageAt};
use crate::windows::OLD_ARM;
use crate::worse::{ALPHA, worse};
use crate::{ArmCounts, ArmPair, GatewayReport, GatewayState, StopReason};

/// Decisions that the blast radius needs, while a stage lasts.
const DECISIONS_MIN: u64 = 200;

/// How often the old arm is remembered.
const REMEMBER: Duration = Duration::from_secs(2);

/// How many bakes a stage waits for its samples.
const BAKES_MAX: u32 = 10;

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

/// One rollout, as its leader sees it.
#[derive(Debug)]
pub struct Leading {
    course: Course,
    at: StageAt,
    entered: Duration,
    /// Since when all gateways have followed.
    baking: Option<Duration>,
    /// The old arm of the last minute of the region's stage before.
    old: ArmCounts,
    /// The old arm of this stage by time, back to the newest that is a minute old.
    old_since: VecDeque<(Duration, ArmCounts)>,
    /// The regions without a living gateway.
    passed_over: Vec<String>,
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
            old: ArmCounts::default(),
            old_since: VecDeque::new(),
            passed_over: Vec::new(),
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
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Records that the store has the stage of the last [`LeaderStep::Enter`].
    pub fn entered(&mut self, stage: StageAt, now: Duration) {
        let same_region = self.region_of(stage) == self.region_of(self.at);
        if !same_region {
            self.old = ArmCounts::default();
        }
        self.old_since = VecDeque::from([(now, ArmCounts::default())]);
        self.at = stage;
        self.entered = now;
        self.baking = None;
    }

    /// Decides what comes next.
    pub fn step(&mut self, reports: &[GatewayReport], paused: bool, now: Duration) -> LeaderStep {
        let told = self.told(reports);
        self.remember(&told.arms.old, now);
        if let Some(reason) = self.ended_by(reports) {
            return LeaderStep::Stop(reason);
        }
        if told.decided >= DECISIONS_MIN && self.is_too_wide(&told) {
            return LeaderStep::Stop(too_wide(&told));
        }
        if self.baking.is_some() && !self.silent(reports).is_empty() {
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

    /// Remembers the old arm of the last minute: at 100 % there is none.
    fn remember(&mut self, old: &ArmCounts, now: Duration) {
        let is_old = |(at, _): &(Duration, ArmCounts)| now.saturating_sub(*at) >= OLD_ARM;
        while self.old_since.get(1).is_some_and(is_old) {
            self.old_since.pop_front();
        }
        let newest = self.old_since.back().map(|(at, _)| *at);
        if newest.is_none_or(|at| now.saturating_sub(at) >= REMEMBER) {
            self.old_since.push_back((now, old.clone()));
        }
    }

    /// Returns what the old arm has counted in the last minute of this stage.
    fn last_minute(&self, old: &ArmCounts, now: Duration) -> ArmCounts {
        let oldest = self.old_since.front();
        match oldest.filter(|(at, _)| now.saturating_sub(*at) >= OLD_ARM) {
            Some((_, before)) => old.since(before),
            None => old.clone(),
        }
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
            told.arms.old = self.old.clone();
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

    /// Returns the names of those that have reported this rollout, if none is alive: they may use it still.
    fn silent(&self, reports: &[GatewayReport]) -> Vec<String> {
        if !self.alive(reports).is_empty() {
            return Vec::new();
        }
        let silent = self.ours(reports).filter(|it| self.is_here(it));
        silent.map(|it| it.gateway.clone()).collect()
    }

    fn is_here(&self, report: &GatewayReport) -> bool {
        self.region().is_none_or(|own| own == report.region)
    }

    fn wait_for_gateways(&mut self, reports: &[GatewayReport], now: Duration) -> LeaderStep {
        let (alive, silent) = (self.alive(reports), self.silent(reports));
        if alive.is_empty() && silent.is_empty() && self.region().is_some() {
            let region = self.region().unwrap_or_default().to_owned();
            self.passed_over.push(region);
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
        self.old = self.last_minute(&told.arms.old, now);
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
