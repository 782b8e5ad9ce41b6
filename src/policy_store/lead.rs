//! Leads a rollout: keeps the lease, and carries out what the machine says.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{StoreError, StoreSession};
use tidegate_rollout::{
    Course, GatewayReport, LeaderStep, Leading, RolloutOutcome, RolloutStage, StageAt, StopReason,
    Told,
};

/// How often the rows are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(2);

/// Longest wait for a look: a server may accept what it is sent and answer nothing.
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
    /// `entered`, `baking`, `passed`, `done`, `stopped`, `aborted`.
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
    let started = Instant::now();
    let mut lead = Lead {
        store,
        mandate: (course.rollout, leader),
        machine: Leading::new(course, Duration::ZERO),
        renewed: started,
        was_baking: false,
        stopping: None,
    };
    tell(lead.event("entered", Told::default(), None));
    loop {
        let is_interrupted = *interrupted.borrow();
        let look = async {
            match is_interrupted {
                true => lead.abort(&mut tell).await.map(Some),
                false => lead.look(started.elapsed(), &mut tell).await,
            }
        };
        let late = |_elapsed| Err(StoreError::Timeout(ANSWER_MAX.as_secs()));
        match timeout(ANSWER_MAX, look).await.unwrap_or_else(late) {
            Ok(None) => {}
            Ok(Some(ended)) => return Ok(ended),
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
        let step = self.machine.step(&reports, open.paused, now);
        if self.machine.is_baking() && !self.was_baking {
            tell(self.event("baking", self.machine.told(&reports), None));
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
        let told = self.machine.told(reports);
        let asked = Instant::now();
        match step {
            LeaderStep::Wait => Ok(None),
            LeaderStep::Enter(stage) => {
                let (kind, region, share) = self.row_of(stage);
                let region = region.as_deref();
                if !self.store.enter(self.mandate, kind, region, share).await? {
                    return self.lost().await.map(Some);
                }
                tell(self.event("passed", told, None));
                self.renewed = asked;
                self.machine.entered(stage, now);
                self.was_baking = false;
                tell(self.event("entered", self.machine.told(reports), None));
                Ok(None)
            }
            LeaderStep::Finish => {
                let reason = match self.machine.passed_over() {
                    [] => String::new(),
                    regions => format!("without a living gateway: {}", regions.join(", ")),
                };
                if !self
                    .store
                    .end(self.mandate, RolloutOutcome::Done, &reason)
                    .await?
                {
                    return self.lost().await.map(Some);
                }
                let reason = (!reason.is_empty()).then_some(reason);
                tell(self.event("done", told, reason));
                Ok(Some(Leadership::Done))
            }
            LeaderStep::Stop(reason) => {
                let why = reason.to_string();
                self.stopping = Some(reason.clone());
                if !self
                    .store
                    .end(self.mandate, RolloutOutcome::Stopped, &why)
                    .await?
                {
                    return self.lost().await.map(Some);
                }
                tell(self.event("stopped", told, Some(why)));
                Ok(Some(Leadership::Stopped(reason)))
            }
        }
    }

    async fn abort(&self, tell: &mut impl FnMut(LeadEvent)) -> Result<Leadership, StoreError> {
        let reason = "aborted by its leader";
        if !self
            .store
            .end(self.mandate, RolloutOutcome::Aborted, reason)
            .await?
        {
            return self.lost().await;
        }
        tell(self.event("aborted", Told::default(), None));
        Ok(Leadership::Aborted(reason.to_owned()))
    }

    /// Why this process does not lead any more.
    async fn lost(&self) -> Result<Leadership, StoreError> {
        let newest = self.store.newest(false).await?;
        let own = newest.filter(|it| it.rollout == self.mandate.0);
        let reason = own
            .as_ref()
            .and_then(|it| it.reason.clone())
            .unwrap_or_default();
        let outcome = own.and_then(|it| it.outcome);
        Ok(ended(outcome.as_deref(), reason, self.stopping.clone()))
    }

    fn row_of(&self, stage: StageAt) -> (RolloutStage, Option<String>, u16) {
        match stage {
            StageAt::Shadow => (RolloutStage::Shadow, None, 0),
            StageAt::Share { share, .. } => {
                let region = self.machine.region_of(stage).map(str::to_owned);
                (RolloutStage::Share, region, share)
            }
        }
    }

    fn event(&self, state: &'static str, told: Told, reason: Option<String>) -> LeadEvent {
        let (stage, region, share) = self.row_of(self.machine.stage());
        LeadEvent {
            stage,
            region,
            share,
            state,
            told,
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
