//! Waits until the gateways decide by what a command has put in force.

use std::time::Duration;

use tidegate_rollout::{FinishedRollout, GatewayReport, GatewayState};
use tokio::time::{Instant, sleep};

use crate::gateway::cli::Exit;
use crate::policy_store::{InForceRow, OpenRow, StoreSession};

/// How long gateways may take to report it. One that has not reported since may be gone: it is waited for until it has, or
/// its row no longer counts as that of a living one.
const WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

/// Most gateways that are named.
const NAMED_MAX: usize = 20;

/// What has come of it.
pub(super) enum Followed {
    /// All living gateways decide by it.
    All,
    /// It was rolled back meanwhile.
    RolledBack(OpenRow),
}

/// Waits until all living gateways decide by a revision, or by that of a later rollout.
pub(super) async fn all_follow(
    store: &StoreSession,
    in_force: InForceRow,
) -> Result<Followed, Exit> {
    let begun = Instant::now();
    loop {
        if let Some(back) = store.rolled_back_after(in_force.by.rollout).await? {
            return Ok(Followed::RolledBack(back));
        }
        let later = store.rollouts_after(in_force.by.rollout).await?;
        let gateways = store.gateways().await?;
        let lacks = |it: &&GatewayReport| it.follows() && !decides_by(it, &in_force.by, &later);
        let behind: Vec<_> = gateways.iter().filter(lacks).collect();
        if behind.is_empty() {
            return Ok(Followed::All);
        }
        if have_reported(&behind, begun.elapsed().saturating_sub(WAIT)) {
            return Err(not_followed(&behind, in_force.by.revision));
        }
        sleep(LOOK).await;
    }
}

/// Whether all have reported in a time.
fn have_reported(gateways: &[&GatewayReport], within: Duration) -> bool {
    gateways.iter().all(|it| it.age < within)
}

/// Whether a gateway reports that a revision is in force there, or follows a later rollout. While its rollout is open it
/// reports the same numbers, but another state.
fn decides_by(
    report: &GatewayReport,
    in_force: &FinishedRollout,
    later: &[FinishedRollout],
) -> bool {
    let is_settled = report.refused.is_none();
    let says_so = match report.state {
        GatewayState::InForce => is_settled,
        // Its share says whether it still tries the revision.
        GatewayState::Suspect => is_settled && report.share == 0,
        _ => false,
    };
    // A later rollout begins where this one is in force, but not where that may be a lost one of its number. One that a
    // promotion has lost, or that was taken back, is not among them.
    let is_later = || !report.is_unplaced() && later.iter().any(|it| report.is_about(it));
    says_so && report.is_about(in_force) || is_later()
}

fn not_followed(behind: &[&GatewayReport], revision: u32) -> Exit {
    let name = |it: &&GatewayReport| {
        let refused = it.refused.as_ref().map(|reason| format!(": {reason}"));
        let refused = refused.unwrap_or_default();
        format!("{} in {} ({}{refused})", it.gateway, it.region, it.state)
    };
    let names: Vec<_> = behind.iter().take(NAMED_MAX).map(name).collect();
    let more = match behind.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let what = in_words(revision);
    Exit::failed(format_args!(
        "{what} is in force, but these gateways have not reported it: {}{more}",
        names.join(", ")
    ))
}

/// A revision in words.
pub(super) fn in_words(revision: u32) -> String {
    match revision {
        0 => "the built-in policy".to_owned(),
        revision => format!("revision {revision}"),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_rollout::{ArmReport, UNPLACED};

    use super::*;

    fn report(rollout: u64, revision: u32, state: GatewayState, share: u16) -> GatewayReport {
        GatewayReport {
            gateway: "g".to_owned(),
            region: "eu-west-1".to_owned(),
            version: "1".to_owned(),
            language: 1,
            rollout,
            revision,
            share,
            state,
            refused: None,
            age: Duration::ZERO,
            arms: ArmReport::default(),
        }
    }

    fn rolled_out(rollout: u64, started: u64, revision: u32) -> FinishedRollout {
        FinishedRollout {
            rollout,
            started,
            revision,
        }
    }

    #[test]
    fn a_gateway_that_may_be_gone_is_not_named_as_one_that_does_not_follow() {
        let aged = |seconds| GatewayReport {
            age: Duration::from_secs(seconds),
            ..report(4, 2, GatewayState::InForce, 0)
        };
        let (fresh, silent) = (aged(1), aged(20));
        let reported = |seconds| have_reported(&[&fresh, &silent], Duration::from_secs(seconds));
        assert!(!reported(0) && !reported(20));
        assert!(have_reported(&[&fresh], Duration::from_secs(2)));
        assert!(!have_reported(&[&aged(0)], Duration::ZERO), "in time");
        // Later than that a silent one is not alive.
        assert!(reported(tidegate_rollout::ALIVE.as_secs()));
    }

    #[test]
    fn a_gateway_that_is_still_on_a_lost_rollout_with_the_same_numbers_does_not_follow() {
        let (in_force, later) = (rolled_out(4, 40, 2), [rolled_out(5, 50, 3)]);
        let follows = |(rollout, revision), started| {
            let mut report = report(rollout, revision, GatewayState::InForce, 0);
            report.arms.started = started;
            decides_by(&report, &in_force, &later)
        };
        for (numbers, started) in [((4, 2), 40), ((5, 3), 50)] {
            assert!(follows(numbers, Some(started)));
            assert!(
                !follows(numbers, Some(started - 1)),
                "a promotion has lost it"
            );
            // Older versions say it only while a rollout is open, or never.
            assert!(follows(numbers, Some(0)) && follows(numbers, None));
        }
    }

    #[test]
    fn what_a_gateway_reported_while_the_rollout_was_open_does_not_say_that_it_is_in_force() {
        let (in_force, later) = (rolled_out(4, 40, 2), [rolled_out(5, 50, 3)]);
        let says = |rollout, revision, state, share| {
            decides_by(&report(rollout, revision, state, share), &in_force, &later)
        };
        assert!(says(4, 2, GatewayState::InForce, 0));
        for (state, share) in [
            (GatewayState::Applied, 10_000),
            (GatewayState::Loaded, 0),
            (GatewayState::Lapsed, 0),
            (GatewayState::Refused, 0),
            (GatewayState::Suspect, 10_000),
        ] {
            assert!(!says(4, 2, state, share), "{state}");
        }
        assert!(says(4, 2, GatewayState::Suspect, 0));
        assert!(!says(3, 1, GatewayState::InForce, 0));
        let slow = GatewayReport {
            refused: Some("slow".to_owned()),
            ..report(4, 2, GatewayState::InForce, 0)
        };
        assert!(!decides_by(&slow, &in_force, &later));
        assert!(
            says(5, 3, GatewayState::Loaded, 0),
            "a later rollout is open"
        );
        let unplaced = GatewayReport {
            refused: Some(UNPLACED.to_owned()),
            ..report(5, 3, GatewayState::Loaded, 0)
        };
        assert!(
            !decides_by(&unplaced, &in_force, &later),
            "what is in force there may be lost"
        );
        assert!(
            !says(6, 3, GatewayState::Refused, 0),
            "a promotion has lost it"
        );
    }
}
