//! Leads a rollout: keeps the lease, and carries out what the machine says.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{StoreError, StoreSession};
use tidegate_rollout::{
    Course, GatewayReport, LeaderStep, Leading, RolloutOutcome, RolloutStage, StageAt, StopReason,
    Told,
};

/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(2);

/// Longest wait for an answer: a server may accept what it is sent and answer nothing.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// For how long the store may fail before the lease is lost.
const LEASE: Duration = Duration::from_secs(10);

/// How a rollout has ended for its leader.
#[derive(Debug)]
pub enum Leadership {
    /// The revision is in force.
    Done,
    /// It was stopped.
    Stopped(StopReason),
    /// Ctrl-C, or another command, has ended it.
    Aborted(String),
    /// The lease is lost.
    Lost(String),
}

/// A change to tell.
#[derive(Debug)]
pub struct LeadEvent {
    /// The stage.
    pub stage: RolloutStage,
    /// The region at work.
    pub region: Option<String>,
    /// The share of its keys, of 10,000.
    pub share: u16,
    /// `entered`, `baking`, `passed`, `passed-over`, `done`, `stopped`, `aborted`.
    pub state: &'static str,
    /// The counts.
    pub told: Told,
    /// Why.
    pub reason: Option<String>,
}

/// Leads a rollout that was begun, until it ends; `interrupted` turns true when the operator aborts it.
///
/// # Errors
/// When the store fails for as long as the lease lasts.
pub async fn lead(
    store: &mut StoreSession,
    (course, leader): (Course, &str),
    mut interrupted: watch::Receiver<bool>,
    mut tell: impl FnMut(LeadEvent),
) -> Result<Leadership, StoreError> {
    store.answer_within(ANSWER_MAX);
    let started = Instant::now();
    let mut lead = Lead {
        store,
        mandate: (course.rollout, leader),
        machine: Leading::new(course, Duration::ZERO),
        renewed: started,
        was_baking: false,
        told: Told::default(),
        stopping: None,
    };
    tell(lead.event("entered", None));
    loop {
        let is_interrupted = *interrupted.borrow();
        let looked = match is_interrupted {
            true => lead.abort().await.map(Some),
            false => lead.look(started.elapsed(), &mut tell).await,
        };
        match looked {
            Ok(None) => {}
            Ok(Some(ended)) => {
                lead.last_event(&ended).into_iter().for_each(tell);
                return Ok(ended);
            }
            Err(error) if lead.renewed.elapsed() < LEASE => {
                // It is tried again, until the lease has run out.
                let _unreachable = lead.store.reopen_after(&error).await;
            }
            Err(error) => return Ok(Leadership::Lost(error.to_string())),
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            _ = interrupted.changed() => {}
        }
    }
}

struct Lead<'a> {
    store: &'a mut StoreSession,
    mandate: (u64, &'a str),
    machine: Leading,
    /// When the lease was last renewed.
    renewed: Instant,
    was_baking: bool,
    /// The counts of the stage when the rows were last looked at.
    told: Told,
    /// Why it was to be stopped, though the answer to that may be lost.
    stopping: Option<StopReason>,
}

impl Lead<'_> {
    /// Looks at the rows once, and carries out a step.
    async fn look(
        &mut self,
        now: Duration,
        tell: &mut impl FnMut(LeadEvent),
    ) -> Result<Option<Leadership>, StoreError> {
        let asked = Instant::now();
        if self.renewed.elapsed() >= RENEW {
            let (rollout, leader) = self.mandate;
            if !self.store.renew(rollout, leader).await? {
                return self.lost().await.map(Some);
            }
            self.renewed = asked;
        }
        let open = self.store.newest(true).await?;
        let Some(open) = open.filter(|it| it.rollout == self.mandate.0) else {
            return self.lost().await.map(Some);
        };
        let reports = self.store.gateways().await?;
        let row = (open.stage.as_str(), open.region.as_deref(), open.share);
        if let Some(stage) = self.machine.entered_unseen(row) {
            self.enter(stage, &reports, now, tell);
        }
        self.told = self.machine.told(&reports);
        let step = self.machine.step(&reports, open.paused, now);
        if self.machine.is_baking() && !self.was_baking {
            tell(self.event("baking", None));
        }
        self.was_baking = self.machine.is_baking();
        self.carry_out(step, &reports, now, tell).await
    }

    async fn carry_out(
        &mut self,
        step: LeaderStep,
        reports: &[GatewayReport],
        now: Duration,
        tell: &mut impl FnMut(LeadEvent),
    ) -> Result<Option<Leadership>, StoreError> {
        let asked = Instant::now();
        match step {
            LeaderStep::Wait => Ok(None),
            LeaderStep::Enter(stage) => {
                let (kind, region, share) = self.machine.row_of(stage);
                if !self.store.enter(self.mandate, kind, region, share).await? {
                    return self.lost().await.map(Some);
                }
                self.renewed = asked;
                self.enter(stage, reports, now, tell);
                Ok(None)
            }
            LeaderStep::Finish => {
                let reason = self.passed_over().unwrap_or_default();
                let ended = self.end(RolloutOutcome::Done, &reason, Leadership::Done);
                let ended = ended.await?;
                if matches!(ended, Leadership::Done) && self.machine.is_passing_over() {
                    tell(self.left());
                }
                Ok(Some(ended))
            }
            LeaderStep::Stop(reason) => {
                let why = reason.to_string();
                self.stopping = Some(reason.clone());
                let ended = Leadership::Stopped(reason);
                let ended = self.end(RolloutOutcome::Stopped, &why, ended);
                ended.await.map(Some)
            }
        }
    }

    /// Records that the store has a stage.
    fn enter(
        &mut self,
        stage: StageAt,
        reports: &[GatewayReport],
        now: Duration,
        tell: &mut impl FnMut(LeadEvent),
    ) {
        tell(self.left());
        self.machine.entered(stage, now);
        self.was_baking = false;
        self.told = self.machine.told(reports);
        tell(self.event("entered", None));
    }

    async fn abort(&self) -> Result<Leadership, StoreError> {
        let reason = "aborted by its leader";
        let ended = Leadership::Aborted(reason.to_owned());
        self.end(RolloutOutcome::Aborted, reason, ended).await
    }

    /// Ends the rollout, if this process still leads it.
    async fn end(
        &self,
        outcome: RolloutOutcome,
        reason: &str,
        ended: Leadership,
    ) -> Result<Leadership, StoreError> {
        match self.store.end(self.mandate, outcome, reason).await? {
            true => Ok(ended),
            false => self.lost().await,
        }
    }

    /// Why this process does not lead any more.
    async fn lost(&self) -> Result<Leadership, StoreError> {
        // Whoever has ended it may have begun another.
        let own = self.store.rollout(self.mandate.0).await?;
        let reason = own
            .as_ref()
            .and_then(|it| it.reason.clone())
            .unwrap_or_default();
        let outcome = own.and_then(|it| it.outcome);
        Ok(ended(outcome.as_deref(), reason, self.stopping.clone()))
    }

    /// Names the regions without a living gateway, if there are any.
    fn passed_over(&self) -> Option<String> {
        let regions: Vec<_> = self.machine.passed_over().collect();
        let named = || format!("without a living gateway: {}", regions.join(", "));
        (!regions.is_empty()).then(named)
    }

    /// The event that reports an end; none where another process leads.
    fn last_event(&self, ended: &Leadership) -> Option<LeadEvent> {
        let (state, reason) = match ended {
            Leadership::Done => ("done", self.passed_over()),
            Leadership::Stopped(reason) => ("stopped", Some(reason.to_string())),
            Leadership::Aborted(reason) => ("aborted", Some(reason.clone())),
            Leadership::Lost(_) => return None,
        };
        Some(self.event(state, reason))
    }

    /// The event that reports that a stage is left.
    fn left(&self) -> LeadEvent {
        match self.machine.is_passing_over() {
            true => self.event("passed-over", Some("no living gateway".to_owned())),
            false => self.event("passed", None),
        }
    }

    fn event(&self, state: &'static str, reason: Option<String>) -> LeadEvent {
        let (stage, region, share) = self.machine.row_of(self.machine.stage());
        LeadEvent {
            stage,
            region: region.map(str::to_owned),
            share,
            state,
            told: self.told.clone(),
            reason,
        }
    }
}

/// How a rollout has ended, by its row. Only its leader writes that it is done or stopped: this process
/// has, though the answer was lost.
fn ended(outcome: Option<&str>, reason: String, stopping: Option<StopReason>) -> Leadership {
    match (outcome, stopping) {
        (Some("done"), _) => Leadership::Done,
        (Some("stopped"), Some(stopping)) => Leadership::Stopped(stopping),
        (Some("aborted"), _) => Leadership::Aborted(reason),
        (Some(outcome), _) => {
            Leadership::Lost(format!("the rollout has ended: {outcome} {reason}"))
        }
        (None, _) => Leadership::Lost("the lease was not renewed in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_whose_answer_was_lost_is_what_the_row_says() {
        let by_row = |outcome, stopping| ended(outcome, String::new(), stopping);
        assert!(matches!(by_row(Some("done"), None), Leadership::Done));
        let stopping = || Some(StopReason::Samples { requests: 1 });
        assert!(matches!(
            by_row(Some("stopped"), stopping()),
            Leadership::Stopped(_)
        ));
        assert!(matches!(
            by_row(Some("aborted"), stopping()),
            Leadership::Aborted(_)
        ));
        assert!(matches!(
            by_row(Some("expired"), stopping()),
            Leadership::Lost(_)
        ));
        assert!(matches!(by_row(None, stopping()), Leadership::Lost(_)));
    }
}
