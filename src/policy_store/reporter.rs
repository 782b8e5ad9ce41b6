//! Writes a gateway's row on the primary.

use std::sync::Arc;
use std::time::Duration;

use tidegate_rollout::{ArmReport, GatewayReport, GatewayState, OpenRollout, Posture, UNPLACED};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::Client;

use super::{StoreError, statement};
use crate::postgres::monitor::Monitor;
use tidegate_traffic::syntax::LANGUAGE;

/// How often a row is written when nothing happens.
const STEADY: Duration = Duration::from_secs(10);

/// How often while a rollout is open; a shorter bake is waited for, which ends with a report of each gateway.
const OPEN: Duration = Duration::from_secs(2);
const OPEN_LEAST: Duration = Duration::from_millis(250);

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Pause after the role was refused: only an operator can change that.
const REFUSED: Duration = Duration::from_secs(30);

/// What is to be reported.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    pub(super) row: GatewayReport,
    /// How often it is written when nothing happens.
    pub(super) every: Duration,
}

impl Reported {
    /// What a gateway of a region says of the store that it follows, and of the open rollout; `started` is when the one
    /// began that has put in force what is.
    pub(super) fn of(
        (gateway, region): (&str, &str),
        posture: &Posture,
        (open, started): (Option<&OpenRollout>, u64),
        arms: ArmReport,
    ) -> Self {
        let (rollout, revision) = match open {
            Some(open) => (open.rollout, open.revision),
            None => (posture.rollout, posture.in_force.unwrap_or_default()),
        };
        let bake = open.map(|it| Duration::from_millis(it.bake_ms));
        Self {
            row: GatewayReport {
                gateway: gateway.to_owned(),
                region: region.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                language: LANGUAGE,
                rollout,
                revision,
                share: posture.trial.as_ref().map_or(0, |it| it.share),
                state: posture.state,
                refused: posture.refused.map(str::to_owned),
                age: Duration::ZERO,
                arms: ArmReport {
                    started: Some(open.map_or(started, |it| it.started)),
                    ..arms
                },
            },
            every: bake.map_or(STEADY, |bake| bake.clamp(OPEN_LEAST, OPEN)),
        }
    }

    /// The same of a gateway that suspects itself: it neither confirms nor stops, and what it said before remains
    /// to be read.
    pub(super) fn in_doubt(mut self) -> Self {
        let before = std::mem::replace(&mut self.row.state, GatewayState::Suspect);
        if before.ends_rollout() {
            let cause = self.row.refused.map(|cause| format!(": {cause}"));
            self.row.refused = Some(format!("{before}{}", cause.unwrap_or_default()));
        }
        self
    }

    /// The same of a gateway that cannot tell whether what it reads is as it is since the last promotion: it confirms
    /// nothing. What ends a rollout it still says.
    pub(super) fn unplaced(mut self) -> Self {
        let row = &mut self.row;
        let would_confirm = matches!(row.state, GatewayState::Loaded | GatewayState::Applied);
        if would_confirm || row.refused.is_none() {
            row.refused = Some(UNPLACED.to_owned());
        }
        self
    }

    /// What a gateway says that has a policy file.
    pub(super) fn pinned(by: (&str, &str), posture: &Posture) -> Self {
        let said = Self::of(by, posture, (None, 0), ArmReport::default());
        Self {
            row: GatewayReport {
                rollout: 0,
                revision: 0,
                state: GatewayState::Pinned,
                ..said.row
            },
            every: STEADY,
        }
    }
}

/// Whether a report says anything new.
fn differs(one: &GatewayReport, other: &GatewayReport) -> bool {
    let said = |it: &GatewayReport| {
        (
            (it.rollout, it.arms.started),
            it.revision,
            it.share,
            it.state,
            it.refused.clone(),
        )
    };
    said(one) != said(other)
}

/// Reports when something has changed, and regularly; ends with the sender.
pub(super) async fn report(monitor: Arc<Monitor>, mut latest: watch::Receiver<Option<Reported>>) {
    let mut last: Option<GatewayReport> = None;
    // Until then nothing is written, whatever happens.
    let mut held = Instant::now();
    let mut due = held;
    loop {
        let changed = tokio::select! {
            changed = latest.changed() => changed,
            () = sleep_until(due) => Ok(()),
        };
        if changed.is_err() {
            return;
        }
        let now = Instant::now();
        let Some(Reported { row, every }) = latest.borrow_and_update().clone() else {
            due = now + STEADY;
            continue;
        };
        let is_new = last.as_ref().is_none_or(|last| differs(last, &row));
        if now < held || !is_new && now < due {
            continue;
        }
        match write(&monitor, &row).await {
            Ok(()) => {
                last = Some(row);
                due = now + every;
            }
            Err(pause) => (held, due) = (now + pause, now + pause),
        }
    }
}

/// Returns how long to wait if it could not be written.
async fn write(monitor: &Monitor, row: &GatewayReport) -> Result<(), Duration> {
    let client = primary(monitor).ok_or(RETRY)?;
    let written = statement::report(&client, row).await;
    written.map_err(|error| match error {
        StoreError::Rights(_) | StoreError::Missing => {
            tracing::warn!(%error, "the report to the policy store is refused");
            REFUSED
        }
        error => {
            tracing::debug!(%error, "the report to the policy store could not be written");
            RETRY
        }
    })
}

/// Removes a gateway's row at its end, if the primary takes that at once.
pub(super) async fn leave(monitor: &Monitor, gateway: &str) {
    let Some(client) = primary(monitor) else {
        return;
    };
    if let Err(error) = statement::leave(&client, gateway).await {
        tracing::debug!(%error, "the report in the policy store could not be removed");
    }
}

/// The connection to the primary, if there is one.
fn primary(monitor: &Monitor) -> Option<Arc<Client>> {
    let primary = monitor.knowledge().primary().map(|it| it.node.clone());
    primary.and_then(|node| monitor.client(&node))
}

#[cfg(test)]
mod tests {
    use tidegate_rollout::RolloutStage;

    use super::*;

    #[test]
    fn a_gateway_that_suspects_itself_still_says_that_it_had_vetoed() {
        let in_doubt = |state, refused: Option<&'static str>| {
            let posture = Posture {
                in_force: None,
                rollout: 1,
                trial: None,
                state,
                refused,
            };
            let by = ("gateway", "region");
            let said = Reported::of(by, &posture, (None, 40), ArmReport::default()).in_doubt();
            assert_eq!(said.row.state, GatewayState::Suspect);
            said.row.refused
        };
        let vetoed = in_doubt(GatewayState::Vetoed, Some("errors"));
        assert_eq!(vetoed.as_deref(), Some("vetoed: errors"));
        let lapsed = in_doubt(GatewayState::Lapsed, None);
        assert_eq!(lapsed.as_deref(), Some("lapsed"));
        assert_eq!(in_doubt(GatewayState::Applied, None), None);
    }

    #[test]
    fn a_gateway_that_cannot_place_what_it_reads_says_so_unless_it_has_a_graver_reason() {
        let unplaced = |state, refused| {
            let posture = Posture {
                in_force: Some(1),
                rollout: 1,
                trial: None,
                state,
                refused,
            };
            let by = ("gateway", "region");
            let said = Reported::of(by, &posture, (None, 40), ArmReport::default());
            let row = said.unplaced().row;
            assert_eq!(row.state, state);
            row.refused.unwrap()
        };
        assert_eq!(unplaced(GatewayState::InForce, None), UNPLACED);
        assert_eq!(unplaced(GatewayState::InForce, Some("slow")), "slow");
        for state in [
            GatewayState::Refused,
            GatewayState::Vetoed,
            GatewayState::Lapsed,
        ] {
            assert_eq!(unplaced(state, Some("floor")), "floor", "{state}");
        }
        // The reason is that of the row in force, and would not keep it from confirming.
        for state in [GatewayState::Loaded, GatewayState::Applied] {
            assert_eq!(unplaced(state, Some("digest")), UNPLACED, "{state}");
        }
    }

    #[test]
    fn a_report_says_when_its_rollout_began_and_comes_as_often_as_a_short_bake() {
        let posture = Posture {
            in_force: Some(1),
            rollout: 4,
            trial: None,
            state: GatewayState::Loaded,
            refused: None,
        };
        let said = |bake_ms| {
            let open = OpenRollout {
                rollout: 5,
                started: 50,
                revision: 2,
                base: 1,
                bake_ms,
                regions: Vec::new(),
                stage: RolloutStage::Shadow,
                region: None,
                share: 0,
                beat: 0,
                paused: false,
                judge: String::new(),
            };
            let by = ("gateway", "region");
            Reported::of(by, &posture, (Some(&open), 40), ArmReport::default())
        };
        let row = said(0).row;
        assert_eq!((row.rollout, row.arms.started), (5, Some(50)));
        assert_eq!(said(0).every, OPEN_LEAST);
        assert_eq!(said(1_000).every, Duration::from_secs(1));
        assert_eq!(said(60_000).every, OPEN);
        let by = ("gateway", "region");
        let steady = Reported::of(by, &posture, (None, 40), ArmReport::default());
        assert_eq!((steady.row.rollout, steady.row.arms.started), (4, Some(40)));
        assert_eq!(steady.every, STEADY);
    }
}
