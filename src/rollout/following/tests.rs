use super::*;
use crate::{FinishedRollout, OpenRollout, RolloutStage};

const S: Duration = Duration::from_secs(1);

fn open(rollout: u64, beat: u64, share: Option<(&str, u16)>) -> OpenRollout {
    OpenRollout {
        rollout,
        started: 1,
        revision: 2,
        base: 1,
        bake_ms: 60_000,
        regions: ["a", "b", "c"].map(str::to_owned).to_vec(),
        stage: match share {
            Some(_) => RolloutStage::Share,
            None => RolloutStage::Shadow,
        },
        region: share.map(|(region, _)| region.to_owned()),
        share: share.map_or(0, |(_, share)| share),
        beat,
        paused: false,
        judge: "errors,latency".to_owned(),
    }
}

/// Revision 1 is in force by rollout 1.
fn view(open: Option<OpenRollout>) -> StoreView {
    StoreView {
        system: Some(7),
        timeline: 1,
        is_current: true,
        newest: open.as_ref().map_or(1, |it| it.rollout),
        open,
        ended: None,
        finished: Some(FinishedRollout {
            rollout: 1,
            started: 1,
            revision: 1,
        }),
        above_floor: None,
        revisions: Vec::new(),
    }
}

fn usable(_: u32) -> Admission {
    Admission::Usable
}

/// A gateway in region b that has seen the leader move at 2 s.
fn led(share: Option<(&str, u16)>) -> Following {
    let mut gateway = Following::new("b", None);
    gateway.observe(&view(Some(open(2, 0, None))), &usable, S);
    gateway.observe(&view(Some(open(2, 1, share))), &usable, 2 * S);
    gateway
}

/// The open rollout and its revision.
fn numbers(gateway: &Following) -> Option<(u64, u32)> {
    let open = gateway.open_rollout()?;
    Some((open.rollout, open.revision))
}

fn share(gateway: &mut Following, now: Duration) -> u16 {
    gateway.posture(now).trial.map_or(0, |it| it.share)
}

#[test]
fn the_newest_finished_rollout_is_in_force_and_older_ones_move_nothing() {
    let mut gateway = Following::new("b", None);
    assert_eq!(gateway.posture(S).in_force, None);
    let finished = |rollout, revision| StoreView {
        newest: rollout,
        finished: Some(FinishedRollout {
            rollout,
            started: 1,
            revision,
        }),
        ..view(None)
    };
    for (rollout, revision, expected) in [(4, 3, 3), (2, 5, 3), (4, 3, 3), (5, 1, 1), (4, 3, 1)] {
        gateway.observe(&finished(rollout, revision), &usable, S);
        assert_eq!(gateway.posture(S).in_force, Some(expected), "{rollout}");
    }
}

#[test]
fn after_a_promotion_what_has_survived_counts_even_where_it_is_older() {
    let mut gateway = Following::new("b", None);
    let at = |timeline, finished: Option<(u64, u32)>| StoreView {
        timeline,
        newest: finished.map_or(0, |it| it.0),
        finished: finished.map(|(rollout, revision)| FinishedRollout {
            rollout,
            started: 1,
            revision,
        }),
        ..view(None)
    };
    gateway.observe(&at(1, Some((7, 4))), &usable, S);
    gateway.observe(&at(2, Some((6, 3))), &usable, S);
    assert_eq!(gateway.posture(S).in_force, Some(3));
    gateway.observe(&at(1, Some((8, 5))), &usable, S);
    assert_eq!(
        gateway.posture(S).in_force,
        Some(3),
        "the old primary's rows are late"
    );
    gateway.observe(&at(3, None), &usable, S);
    assert_eq!(
        gateway.posture(S).in_force,
        Some(0),
        "all rollouts were lost"
    );
}

#[test]
fn a_refused_revision_changes_nothing_and_is_reported_until_it_can_be_used() {
    let mut gateway = Following::new("b", None);
    gateway.observe(&view(None), &usable, S);
    let next = StoreView {
        newest: 2,
        finished: Some(FinishedRollout {
            rollout: 2,
            started: 1,
            revision: 2,
        }),
        ..view(None)
    };
    let digest = |revision| match revision {
        2 => Admission::Refused(RevisionRefusal::Digest),
        _ => Admission::Usable,
    };
    assert!(!gateway.observe(&next, &digest, S).is_moved);
    let posture = gateway.posture(S);
    assert_eq!(
        (posture.in_force, posture.state),
        (Some(1), GatewayState::Refused)
    );
    assert_eq!(posture.refused, Some("digest"));
    assert!(gateway.observe(&next, &usable, S).is_moved);
    assert_eq!(gateway.posture(S).in_force, Some(2));
    assert_eq!(gateway.posture(S).refused, None);
}

#[test]
fn a_changed_row_of_what_is_in_force_is_reported_and_changes_nothing() {
    let mut gateway = Following::new("b", None);
    gateway.observe(&view(None), &usable, S);
    let changed = |_| Admission::Refused(RevisionRefusal::Changed);
    assert!(!gateway.observe(&view(None), &changed, S).is_moved);
    let posture = gateway.posture(S);
    assert_eq!(
        (posture.in_force, posture.refused),
        (Some(1), Some("changed"))
    );
}

#[test]
fn in_shadow_no_key_is_the_new_plans_then_those_of_each_regions_share() {
    let state = |share: Option<(&str, u16)>| {
        let mut gateway = led(share);
        let posture = gateway.posture(3 * S);
        (posture.trial.unwrap().share, posture.state)
    };
    assert_eq!(state(None), (0, GatewayState::Loaded));
    assert_eq!(state(Some(("a", 2_500))), (0, GatewayState::Loaded));
    assert_eq!(state(Some(("b", 500))), (500, GatewayState::Applied));
    assert_eq!(state(Some(("c", 500))), (10_000, GatewayState::Applied));
}

#[test]
fn a_gateway_that_starts_waits_until_the_leader_moves() {
    let mut gateway = Following::new("b", None);
    let row = |beat| view(Some(open(2, beat, Some(("b", 500)))));
    gateway.observe(&row(9), &usable, S);
    assert_eq!(share(&mut gateway, S), 0);
    gateway.observe(&row(9), &usable, 2 * S);
    assert_eq!(share(&mut gateway, 2 * S), 0);
    gateway.observe(&row(10), &usable, 3 * S);
    assert_eq!(share(&mut gateway, 3 * S), 500);
}

#[test]
fn without_a_sign_of_the_leader_a_gateway_lapses_in_ten_seconds_and_stays_so() {
    let mut gateway = led(Some(("b", 500)));
    assert_eq!(share(&mut gateway, 12 * S), 500);
    let posture = gateway.posture(12 * S + Duration::from_millis(1));
    assert_eq!(posture.trial.unwrap().share, 0);
    assert_eq!(
        (posture.in_force, posture.state),
        (Some(1), GatewayState::Lapsed)
    );
    gateway.observe(&view(Some(open(2, 2, Some(("b", 500))))), &usable, 13 * S);
    assert_eq!(share(&mut gateway, 13 * S), 0);
    assert_eq!(gateway.posture(13 * S).state, GatewayState::Lapsed);
}

#[test]
fn a_gateway_that_has_not_used_the_new_plan_goes_on_when_the_leader_is_back() {
    let mut gateway = led(None);
    assert_eq!(share(&mut gateway, 30 * S), 0);
    gateway.observe(&view(Some(open(2, 2, Some(("b", 500))))), &usable, 31 * S);
    assert_eq!(share(&mut gateway, 31 * S), 500);
}

#[test]
fn a_lease_is_not_renewed_by_rows_of_a_node_that_is_far_behind() {
    let mut gateway = led(Some(("b", 500)));
    let late = StoreView {
        is_current: false,
        ..view(Some(open(2, 2, Some(("b", 500)))))
    };
    gateway.observe(&late, &usable, 11 * S);
    assert_eq!(share(&mut gateway, 13 * S), 0);
}

#[test]
fn rows_that_arrive_late_or_again_move_nothing() {
    let mut gateway = led(Some(("b", 2_500)));
    gateway.observe(&view(Some(open(2, 0, None))), &usable, 3 * S);
    assert_eq!(share(&mut gateway, 3 * S), 2_500);
    // Another node has not seen the rollout begin.
    gateway.observe(&view(None), &usable, 4 * S);
    assert_eq!(share(&mut gateway, 4 * S), 2_500);
    // It was aborted; a node that is behind still shows it.
    let ended = StoreView {
        newest: 2,
        ..view(None)
    };
    gateway.observe(&ended, &usable, 5 * S);
    assert_eq!(share(&mut gateway, 5 * S), 0);
    for beat in [2, 3] {
        let row = view(Some(open(2, beat, Some(("b", 2_500)))));
        gateway.observe(&row, &usable, 6 * S);
        assert_eq!(share(&mut gateway, 6 * S), 0);
    }
    assert!(!gateway.is_open());
}

#[test]
fn a_veto_holds_for_the_rest_of_the_rollout() {
    let mut gateway = led(Some(("b", 500)));
    gateway.veto(WorseBy::Errors);
    gateway.observe(&view(Some(open(2, 2, Some(("b", 10_000))))), &usable, 3 * S);
    let posture = gateway.posture(3 * S);
    assert_eq!(posture.trial.unwrap().share, 0);
    assert_eq!(
        (posture.state, posture.refused),
        (GatewayState::Vetoed, Some("errors"))
    );
}

#[test]
fn a_finished_rollout_is_in_force_for_all_keys_at_once() {
    let mut gateway = led(Some(("c", 10_000)));
    let done = StoreView {
        newest: 2,
        finished: Some(FinishedRollout {
            rollout: 2,
            started: 1,
            revision: 2,
        }),
        ..view(None)
    };
    gateway.observe(&done, &usable, 3 * S);
    let posture = gateway.posture(3 * S);
    assert_eq!((posture.in_force, posture.trial), (Some(2), None));
    assert_eq!((posture.rollout, posture.state), (2, GatewayState::InForce));
}

#[test]
fn a_promotion_that_has_lost_the_open_rollout_ends_it() {
    let mut gateway = led(Some(("b", 500)));
    let promoted = StoreView {
        timeline: 2,
        ..view(None)
    };
    let observed = gateway.observe(&promoted, &usable, 3 * S);
    assert_eq!(observed.ended, Some((2, RolloutOutcome::Lost)));
    let posture = gateway.posture(3 * S);
    assert_eq!((posture.in_force, posture.trial), (Some(1), None));
}

#[test]
fn a_promotion_that_has_another_rollout_under_the_same_number_ends_the_one_that_is_lost() {
    let mut gateway = led(Some(("b", 500)));
    let other = OpenRollout {
        revision: 7,
        ..open(2, 0, None)
    };
    let promoted = StoreView {
        timeline: 2,
        ..view(Some(other))
    };
    let observed = gateway.observe(&promoted, &usable, 3 * S);
    assert_eq!(observed.ended, Some((2, RolloutOutcome::Lost)));
    assert_eq!(numbers(&gateway), Some((2, 7)));
    assert_eq!(share(&mut gateway, 3 * S), 0);
}

#[test]
fn a_promotion_that_has_the_same_numbers_for_another_rollout_ends_the_one_that_is_lost_and_its_veto()
 {
    let mut gateway = led(Some(("b", 500)));
    gateway.veto(WorseBy::Errors);
    let other = OpenRollout {
        started: 2,
        ..open(2, 0, None)
    };
    let promoted = StoreView {
        timeline: 2,
        ..view(Some(other))
    };
    let observed = gateway.observe(&promoted, &usable, 3 * S);
    assert_eq!(observed.ended, Some((2, RolloutOutcome::Lost)));
    assert_eq!(numbers(&gateway), Some((2, 2)));
    assert_eq!(gateway.posture(3 * S).state, GatewayState::Loaded);
}

#[test]
fn how_the_open_rollout_has_ended_is_seen_once() {
    let mut gateway = led(Some(("b", 500)));
    let stopped = StoreView {
        newest: 3,
        ended: Some(RolloutOutcome::Stopped),
        ..view(None)
    };
    let observed = gateway.observe(&stopped, &usable, 3 * S);
    assert_eq!(observed.ended, Some((2, RolloutOutcome::Stopped)));
    assert_eq!(gateway.observe(&stopped, &usable, 3 * S).ended, None);
}

#[test]
fn an_hour_without_a_store_ends_what_is_on_trial_and_leaves_what_is_in_force() {
    let mut gateway = led(Some(("b", 500)));
    assert_eq!(share(&mut gateway, 2 * S), 500);
    for minute in 1..=60 {
        let posture = gateway.posture(minute * 60 * S);
        let share = posture.trial.map(|it| it.share);
        assert_eq!((posture.in_force, share), (Some(1), Some(0)));
        assert_eq!(posture.state, GatewayState::Lapsed);
    }
    // The primary is back; the leader, which was paused, is not believed.
    let back = view(Some(open(2, 2, Some(("b", 2_500)))));
    gateway.observe(&back, &usable, 3_601 * S);
    assert_eq!(share(&mut gateway, 3_601 * S), 0);
}

#[test]
fn a_new_plan_that_is_refused_has_no_share() {
    let mut gateway = led(None);
    let refused = |revision| match revision {
        2 => Admission::Refused(RevisionRefusal::Language),
        _ => Admission::Usable,
    };
    gateway.observe(&view(Some(open(2, 2, Some(("b", 500))))), &refused, 3 * S);
    let posture = gateway.posture(3 * S);
    assert_eq!(
        (posture.trial, posture.state),
        (None, GatewayState::Refused)
    );
    assert_eq!(posture.refused, Some("language"));
}

#[test]
fn what_the_state_file_says_holds_until_the_store_shows_something_greater() {
    let position = RolloutPosition {
        timeline: 1,
        rollout: 5,
    };
    let mut gateway = Following::new("b", Some((position, 4)));
    assert_eq!(gateway.posture(S).in_force, Some(4));
    gateway.observe(&view(None), &usable, S);
    assert_eq!(
        gateway.posture(S).in_force,
        Some(4),
        "a node that is behind"
    );
    gateway.forget();
    gateway.observe(&view(None), &usable, S);
    assert_eq!(gateway.posture(S).in_force, Some(1), "another database");
}

#[test]
fn a_late_row_of_an_older_rollout_moves_nothing_while_a_newer_one_is_open() {
    let mut gateway = Following::new("b", None);
    gateway.observe(&view(Some(open(3, 0, None))), &usable, S);
    let share_of_b = Some(("b", 2_500));
    gateway.observe(&view(Some(open(3, 1, share_of_b))), &usable, 2 * S);
    assert_eq!(share(&mut gateway, 2 * S), 2_500);
    // A node that is behind still shows the one before, at a greater beat.
    gateway.observe(&view(Some(open(2, 40, Some(("c", 500))))), &usable, 3 * S);
    assert_eq!(numbers(&gateway), Some((3, 2)));
    assert_eq!(share(&mut gateway, 3 * S), 2_500);
    // So does the old primary, whatever it has begun since.
    gateway.observe(
        &StoreView {
            timeline: 0,
            ..view(Some(open(9, 1, share_of_b)))
        },
        &usable,
        3 * S,
    );
    assert_eq!(numbers(&gateway), Some((3, 2)));
    // A newer one takes its place, and waits for its own leader.
    gateway.observe(&view(Some(open(4, 7, share_of_b))), &usable, 4 * S);
    assert_eq!(numbers(&gateway), Some((4, 2)));
    assert_eq!(share(&mut gateway, 4 * S), 0);
}

#[test]
fn a_veto_holds_across_a_promotion_that_the_rollout_survives() {
    let mut gateway = led(Some(("b", 500)));
    gateway.veto(WorseBy::Errors);
    let promoted = StoreView {
        timeline: 2,
        ..view(Some(open(2, 2, Some(("b", 500)))))
    };
    gateway.observe(&promoted, &usable, 3 * S);
    assert_eq!(gateway.posture(3 * S).state, GatewayState::Vetoed);
}

/// Revisions below 3 are void.
fn floor_of_three(revision: u32) -> Admission {
    match revision {
        1 | 2 => Admission::Refused(RevisionRefusal::Floor),
        _ => Admission::Usable,
    }
}

#[test]
fn a_rollback_below_the_floor_is_not_followed_and_what_had_the_floor_is_though_it_was_never_seen() {
    let shown = |rollout, revision| {
        Some(FinishedRollout {
            rollout,
            started: 1,
            revision,
        })
    };
    let back = |above_floor| StoreView {
        newest: 4,
        finished: shown(4, 2),
        above_floor,
        ..view(None)
    };
    let mut seen = Following::new("b", None);
    let third = StoreView {
        newest: 3,
        finished: shown(3, 3),
        ..view(None)
    };
    seen.observe(&third, &floor_of_three, S);
    seen.observe(&back(shown(3, 3)), &floor_of_three, S);
    let mut missed = Following::new("b", None);
    missed.observe(&view(None), &usable, S);
    assert_eq!(missed.in_force(), Some(1));
    assert!(
        missed
            .observe(&back(shown(3, 3)), &floor_of_three, S)
            .is_moved
    );
    for gateway in [&mut seen, &mut missed] {
        let posture = gateway.posture(S);
        assert_eq!((posture.in_force, posture.rollout), (Some(3), 3));
        assert_eq!(posture.refused, Some("floor"));
    }
    // A promotion has lost it: nothing that survives may be used.
    let lost = StoreView {
        timeline: 2,
        ..back(shown(1, 0))
    };
    assert!(!missed.observe(&lost, &floor_of_three, S).is_moved);
    assert_eq!(missed.in_force(), Some(3));
}

#[test]
fn what_is_not_compiled_yet_neither_ends_a_rollout_nor_counts_until_it_is() {
    let slow = |revision| match revision {
        2 => Admission::Refused(RevisionRefusal::Slow),
        _ => Admission::Usable,
    };
    let mut gateway = Following::new("b", None);
    gateway.observe(&view(None), &usable, S);
    gateway.observe(&view(Some(open(2, 0, None))), &slow, S);
    let posture = gateway.posture(S);
    assert_eq!(posture.state, GatewayState::InForce);
    assert_eq!(posture.refused, Some("slow"));
    gateway.observe(&view(Some(open(2, 1, None))), &usable, S);
    let posture = gateway.posture(S);
    assert_eq!(
        (posture.state, posture.refused),
        (GatewayState::Loaded, None)
    );
    // The same of a rollout that has finished meanwhile.
    let done = StoreView {
        newest: 3,
        finished: Some(FinishedRollout {
            rollout: 3,
            started: 1,
            revision: 2,
        }),
        ..view(None)
    };
    gateway.observe(&done, &slow, S);
    let posture = gateway.posture(S);
    assert_eq!((posture.in_force, posture.refused), (Some(1), Some("slow")));
    assert_eq!(posture.state, GatewayState::InForce);
    gateway.observe(&done, &usable, S);
    assert_eq!(gateway.posture(S).in_force, Some(2));
}
