use super::*;
use crate::{ArmPair, ArmReport, UNPLACED};

const S: Duration = Duration::from_secs(1);

fn course() -> Course {
    Course {
        rollout: 2,
        started: 5,
        regions: vec!["a".to_owned(), "b".to_owned()],
        bake: 60 * S,
        wait: 120 * S,
        blast_radius: 1_000,
        latency: true,
        min_samples: 0,
    }
}

fn report(gateway: &str, region: &str, state: GatewayState, share: u16) -> GatewayReport {
    GatewayReport {
        gateway: gateway.to_owned(),
        region: region.to_owned(),
        version: String::new(),
        language: 1,
        rollout: 2,
        revision: 2,
        share,
        state,
        refused: None,
        age: Duration::ZERO,
        arms: ArmReport::default(),
    }
}

/// What well-behaved gateways in both regions report at a stage.
fn followed(leading: &Leading) -> Vec<GatewayReport> {
    let StageAt::Share { region, share } = leading.stage() else {
        return vec![
            report("1", "a", GatewayState::Loaded, 0),
            report("2", "b", GatewayState::Loaded, 0),
        ];
    };
    let of = |place: usize, gateway, name| match place.cmp(&region) {
        std::cmp::Ordering::Less => report(gateway, name, GatewayState::Applied, SHARE_ALL),
        std::cmp::Ordering::Equal => report(gateway, name, GatewayState::Applied, share),
        std::cmp::Ordering::Greater => report(gateway, name, GatewayState::Loaded, 0),
    };
    vec![of(0, "1", "a"), of(1, "2", "b")]
}

fn arms(new: (u64, u64), old: (u64, u64)) -> ArmPair {
    let arm = |(requests, errors)| {
        let mut arm = ArmCounts::default();
        for request in 0..requests {
            arm.add(request < errors, Duration::from_millis(10));
        }
        arm
    };
    ArmPair {
        new: arm(new),
        old: arm(old),
    }
}

/// Goes on second by second until there is something to do.
fn next(
    leading: &mut Leading,
    now: &mut Duration,
    reports: impl Fn(&Leading) -> Vec<GatewayReport>,
) -> LeaderStep {
    loop {
        let reports = reports(leading);
        match leading.step(&reports, false, *now) {
            LeaderStep::Wait => *now += S,
            LeaderStep::Enter(stage) => {
                leading.entered(stage, *now);
                return LeaderStep::Enter(stage);
            }
            step => return step,
        }
    }
}

#[test]
fn every_stage_bakes_once_its_gateways_have_followed_and_then_it_is_done() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let mut stages = Vec::new();
    loop {
        match next(&mut leading, &mut now, followed) {
            LeaderStep::Enter(StageAt::Share { region, share }) => stages.push((region, share)),
            step => {
                assert_eq!(step, LeaderStep::Finish);
                break;
            }
        }
    }
    let of = |region| [500, 2_500, 10_000].map(|share| (region, share));
    assert_eq!(stages, [of(0), of(1)].concat());
    assert_eq!(now, 7 * 60 * S);
}

#[test]
fn a_stage_does_not_bake_before_all_that_are_alive_have_followed() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    reports[1].state = GatewayState::InForce;
    assert_eq!(leading.step(&reports, false, 90 * S), LeaderStep::Wait);
    assert!(!leading.is_baking());
    // One that is no longer alive is not waited for.
    reports[1].age = ALIVE_NO_MORE;
    assert_eq!(leading.step(&reports, false, 91 * S), LeaderStep::Wait);
    assert!(leading.is_baking());
}

const ALIVE_NO_MORE: Duration = Duration::from_secs(30);

#[test]
fn a_gateway_that_does_not_follow_in_time_ends_it_and_is_named() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let reports = |leading: &Leading| {
        let mut reports = followed(leading);
        reports[1].state = GatewayState::InForce;
        reports
    };
    let mut now = Duration::ZERO;
    let step = next(&mut leading, &mut now, reports);
    let gateways = vec!["2".to_owned()];
    assert_eq!(step, LeaderStep::Stop(StopReason::Stalled { gateways }));
    assert_eq!(now, 121 * S);
}

#[test]
fn a_gateway_that_vetoes_lapses_or_refuses_ends_it_at_once_if_it_is_of_this_rollout() {
    for state in [
        GatewayState::Vetoed,
        GatewayState::Lapsed,
        GatewayState::Refused,
    ] {
        let mut leading = Leading::new(course(), Duration::ZERO);
        let mut reports = followed(&leading);
        reports[1].state = state;
        reports[1].rollout = 1;
        assert_eq!(leading.step(&reports, false, S), LeaderStep::Wait);
        reports[1].rollout = 2;
        let step = leading.step(&reports, false, S);
        assert!(
            matches!(step, LeaderStep::Stop(StopReason::Gateway { .. })),
            "{step:?}"
        );
    }
}

#[test]
fn what_gateways_report_of_a_lost_rollout_of_the_same_number_is_not_of_this_one() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    for report in &mut reports {
        report.state = GatewayState::Refused;
        report.refused = Some("floor".to_owned());
    }
    // The lost rollout is in force there, or still seen as open.
    for started in [0, 4] {
        for report in &mut reports {
            report.arms.started = Some(started);
            report.arms.decided = 1_000;
            report.arms.changed = 1_000;
        }
        assert_eq!(leading.step(&reports, false, S), LeaderStep::Wait);
        assert_eq!(leading.told(&reports).decided, 0);
        assert!(!leading.is_baking());
    }
    for report in &mut reports {
        report.arms.started = Some(5);
    }
    let step = leading.step(&reports, false, S);
    assert!(
        matches!(step, LeaderStep::Stop(StopReason::Gateway { .. })),
        "{step:?}"
    );
}

#[test]
fn a_gateway_that_cannot_place_what_it_reads_confirms_no_stage_and_is_named() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let reports = |leading: &Leading, reason: &str| {
        let mut reports = followed(leading);
        reports[0].refused = Some(reason.to_owned());
        reports
    };
    // What keeps the row in force from being read again says nothing of the new revision.
    next(&mut leading, &mut now, |it| reports(it, "digest"));
    assert_eq!(
        next(&mut leading, &mut now, |it| reports(it, UNPLACED)),
        stalled("1 (timeline)")
    );
    let mut shown = reports(&leading, UNPLACED);
    shown[0].arms.arms = arms((20, 20), (20, 0));
    assert_eq!(leading.told(&shown).arms, ArmPair::default());
    shown[0].state = GatewayState::Vetoed;
    shown[0].refused = Some("errors".to_owned());
    let step = leading.step(&shown, false, now);
    assert!(
        matches!(step, LeaderStep::Stop(StopReason::Gateway { .. })),
        "{step:?}"
    );
}

#[test]
fn a_bake_ends_once_all_gateways_at_work_have_reported_since() {
    let course = Course {
        bake: S,
        ..course()
    };
    let mut leading = Leading::new(course, Duration::ZERO);
    let mut reports = followed(&leading);
    assert_eq!(leading.step(&reports, false, S), LeaderStep::Wait);
    assert!(leading.is_baking());
    // The bake ends at 2 s; these reports are of 1.5 s.
    for tenths in [20, 25, 30] {
        let now = tenths * S / 10;
        reports.iter_mut().for_each(|it| it.age = now - 3 * S / 2);
        assert_eq!(leading.step(&reports, false, now), LeaderStep::Wait);
    }
    reports[0].age = Duration::ZERO;
    assert_eq!(leading.step(&reports, false, 3 * S), LeaderStep::Wait);
    // One that does not follow is not waited for here.
    reports[1].state = GatewayState::Pinned;
    let step = leading.step(&reports, false, 3 * S);
    assert!(matches!(step, LeaderStep::Enter(_)), "{step:?}");
}

#[test]
fn too_many_changed_decisions_stop_it_from_two_hundred_on_and_at_the_end_in_any_case() {
    let counted = |decided, changed| {
        move |leading: &Leading| {
            let mut reports = followed(leading);
            reports[0].arms.decided = decided;
            reports[0].arms.changed = changed;
            reports
        }
    };
    let ends = |decided, changed| {
        let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
        (
            next(&mut leading, &mut now, counted(decided, changed)),
            now.as_secs(),
        )
    };
    let stop = |decided, changed| LeaderStep::Stop(StopReason::BlastRadius { changed, decided });
    assert_eq!(ends(200, 21), (stop(200, 21), 0));
    assert_eq!(ends(100, 11), (stop(100, 11), 60));
    let on = LeaderStep::Enter(StageAt::Share {
        region: 0,
        share: 500,
    });
    assert_eq!(ends(200, 20), (on, 60));
}

#[test]
fn a_worse_arm_stops_it_at_the_stages_end_and_too_few_requests_are_unjudged() {
    let bad = |leading: &Leading| {
        let mut reports = followed(leading);
        if leading.region() == Some("a") {
            reports[0].arms.arms = arms((200, 20), (200, 0));
        }
        reports
    };
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    assert!(leading.told(&followed(&leading)).unjudged);
    next(&mut leading, &mut now, bad);
    let LeaderStep::Stop(StopReason::Worse { region, by, .. }) = next(&mut leading, &mut now, bad)
    else {
        panic!("it was not stopped");
    };
    assert_eq!((region.as_str(), by), ("a", "errors"));
}

#[test]
fn with_all_keys_new_errors_are_judged_against_the_stage_before() {
    let reports = |leading: &Leading| {
        let mut reports = followed(leading);
        reports[0].arms.arms = match leading.stage() {
            StageAt::Share {
                share: SHARE_ALL, ..
            } => arms((200, 20), (0, 0)),
            _ => arms((200, 0), (200, 0)),
        };
        reports
    };
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let mut last = LeaderStep::Wait;
    for _ in 0..4 {
        last = next(&mut leading, &mut now, reports);
    }
    assert!(
        matches!(last, LeaderStep::Stop(StopReason::Worse { .. })),
        "{last:?}"
    );
}

#[test]
fn with_all_keys_new_the_old_arm_is_the_last_minute_of_the_stage_before() {
    // The old revision fails a tenth of its requests, but not in the last minute of the stage.
    let at = std::cell::Cell::new((StageAt::Shadow, 0));
    let reports = |leading: &Leading| {
        let (stage, seconds) = at.get();
        let seconds = if stage == leading.stage() {
            seconds + 1
        } else {
            0
        };
        at.set((leading.stage(), seconds));
        let mut reports = followed(leading);
        let bad = seconds.min(60);
        reports[0].arms.arms = match leading.stage() {
            StageAt::Share {
                share: SHARE_ALL, ..
            } => arms((200, 20), (0, 0)),
            _ => arms((seconds * 10, bad), (seconds * 10, bad)),
        };
        reports
    };
    let course = Course {
        bake: 120 * S,
        ..course()
    };
    let (mut leading, mut now) = (Leading::new(course, Duration::ZERO), Duration::ZERO);
    let mut last = LeaderStep::Wait;
    for _ in 0..4 {
        last = next(&mut leading, &mut now, reports);
    }
    let LeaderStep::Stop(StopReason::Worse { arms, .. }) = last else {
        panic!("{last:?}");
    };
    assert_eq!(arms.old.errors, 0, "{arms:?}");
    assert!((500..=650).contains(&arms.old.requests), "{arms:?}");
}

#[test]
fn a_region_without_a_living_gateway_is_passed_over_and_named() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let only_b = |leading: &Leading| followed(leading).split_off(1);
    next(&mut leading, &mut now, only_b);
    let step = next(&mut leading, &mut now, only_b);
    assert_eq!(
        step,
        LeaderStep::Enter(StageAt::Share {
            region: 1,
            share: 500
        })
    );
    let passed_over: Vec<_> = leading.passed_over().collect();
    assert_eq!(passed_over, ["a"]);
}

#[test]
fn where_no_gateway_reports_it_is_waited_for_one_and_then_nothing_is_in_force() {
    let stalled = || {
        LeaderStep::Stop(StopReason::Stalled {
            gateways: Vec::new(),
        })
    };
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    reports[0].state = GatewayState::Pinned;
    reports[1].age = ALIVE_NO_MORE;
    assert_eq!(leading.step(&reports, false, 120 * S), LeaderStep::Wait);
    assert!(!leading.is_baking());
    assert_eq!(leading.step(&reports, false, 121 * S), stalled());
    reports[1].age = Duration::ZERO;
    assert_eq!(leading.step(&reports, false, 121 * S), LeaderStep::Wait);
    assert!(leading.is_baking());

    // All fall silent between shadow and the first region's stage.
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, followed);
    let begun = now;
    assert_eq!(next(&mut leading, &mut now, |_| Vec::new()), stalled());
    assert_eq!(now - begun, 121 * S);
    let LeaderStep::Stop(reason) = stalled() else {
        unreachable!();
    };
    let said = reason.to_string();
    assert!(said.starts_with("no gateway reports: "), "{said}");
    assert!(said.contains("on tidegate.traffic_gateway"), "{said}");
}

#[test]
fn a_rollout_none_of_whose_regions_has_a_living_gateway_has_stalled() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    // It came when the regions were known already.
    let elsewhere = |_: &Leading| vec![report("3", "c", GatewayState::Loaded, 0)];
    for _ in 0..2 {
        let step = next(&mut leading, &mut now, elsewhere);
        assert!(matches!(step, LeaderStep::Enter(_)), "{step:?}");
    }
    assert!(!leading.is_passing_over(), "it has the next region's stage");
    let step = next(&mut leading, &mut now, elsewhere);
    assert_eq!(step, stalled("3 (no stage in c)"));
}

#[test]
fn a_region_whose_gateways_have_fallen_silent_is_waited_for_and_not_passed_over() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, followed);
    leading.step(&followed(&leading), false, now);
    let silent = |leading: &Leading| {
        let mut reports = followed(leading);
        reports.iter_mut().for_each(|it| it.age = ALIVE_NO_MORE);
        reports
    };
    let gateways = vec!["1".to_owned()];
    let step = next(&mut leading, &mut now, silent);
    assert_eq!(step, LeaderStep::Stop(StopReason::Stalled { gateways }));
}

/// Reports in which one region's gateway suspects itself; it was heard a while ago.
fn suspecting(leading: &Leading, place: usize, age: Duration) -> Vec<GatewayReport> {
    let mut reports = followed(leading);
    reports[place].state = GatewayState::Suspect;
    reports[place].age = age;
    reports
}

fn stalled(gateway: &str) -> LeaderStep {
    let gateways = vec![gateway.to_owned()];
    LeaderStep::Stop(StopReason::Stalled { gateways })
}

#[test]
fn a_region_whose_gateways_suspect_themselves_is_waited_for_and_then_it_has_stalled() {
    for age in [S, ALIVE_NO_MORE] {
        let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
        next(&mut leading, &mut now, followed);
        leading.step(&followed(&leading), false, now);
        assert!(leading.is_baking());
        let begun = now;
        let step = next(&mut leading, &mut now, |it| suspecting(it, 0, age));
        assert_eq!(step, stalled("1"));
        assert_eq!(now - begun, 121 * S, "what it said before counts no more");
        assert_eq!(leading.passed_over().next(), None);
    }
}

#[test]
fn a_region_whose_only_row_is_of_a_dead_gateway_that_suspected_itself_is_passed_over() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let dead = |leading: &Leading| suspecting(leading, 0, ALIVE_NO_MORE);
    next(&mut leading, &mut now, dead);
    let begun = now;
    let step = next(&mut leading, &mut now, dead);
    let share = 500;
    assert_eq!(step, LeaderStep::Enter(StageAt::Share { region: 1, share }));
    assert_eq!(now, begun, "for a day its row is there");
}

#[test]
fn a_region_that_has_had_a_share_is_not_passed_over_whatever_becomes_of_its_gateways() {
    for (state, age) in [
        (GatewayState::Applied, ALIVE_NO_MORE),
        (GatewayState::Suspect, S),
        (GatewayState::Suspect, ALIVE_NO_MORE),
    ] {
        let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
        // It applies 5 %, and from 25 % on it is not heard.
        let reports = |leading: &Leading| {
            let mut reports = followed(leading);
            if let StageAt::Share { share: 2_500.., .. } = leading.stage() {
                reports[0].state = state;
                reports[0].age = age;
            }
            reports
        };
        for _ in 0..2 {
            next(&mut leading, &mut now, reports);
        }
        let step = next(&mut leading, &mut now, reports);
        assert_eq!(step, stalled("1"), "{state} {age:?}");
    }
}

#[test]
fn a_region_whose_gateways_no_longer_suspect_themselves_bakes_anew() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, followed);
    leading.step(&followed(&leading), false, now);
    assert_eq!(
        leading.step(&suspecting(&leading, 0, S), false, now + 59 * S),
        LeaderStep::Wait
    );
    assert!(!leading.is_baking());
    let begun = now + 60 * S;
    assert_eq!(
        leading.step(&followed(&leading), false, begun),
        LeaderStep::Wait
    );
    let step = leading.step(&followed(&leading), false, begun + 59 * S);
    assert_eq!(step, LeaderStep::Wait);
    let step = leading.step(&followed(&leading), false, begun + 60 * S);
    assert!(matches!(step, LeaderStep::Enter(_)), "{step:?}");
    assert_eq!(leading.passed_over().next(), None);
}

#[test]
fn one_gateway_that_suspects_itself_neither_holds_up_nor_stops_the_others() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = suspecting(&leading, 1, S);
    reports[1].arms.decided = 1_000;
    reports[1].arms.changed = 1_000;
    assert_eq!(leading.step(&reports, false, S), LeaderStep::Wait);
    assert!(leading.is_baking());
    // In the end it says so of itself, and its own veto counts again.
    reports[1].state = GatewayState::Vetoed;
    reports[1].arms = ArmReport::default();
    let step = leading.step(&reports, false, 2 * S);
    assert!(
        matches!(step, LeaderStep::Stop(StopReason::Gateway { .. })),
        "{step:?}"
    );
}

#[test]
fn where_all_gateways_suspect_themselves_shadow_is_waited_for_and_then_it_has_stalled() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    let all = |leading: &Leading| {
        let mut reports = followed(leading);
        reports
            .iter_mut()
            .for_each(|it| it.state = GatewayState::Suspect);
        reports
    };
    let step = next(&mut leading, &mut now, all);
    let gateways = vec!["1".to_owned(), "2".to_owned()];
    assert_eq!(step, LeaderStep::Stop(StopReason::Stalled { gateways }));
    assert_eq!(now, 121 * S);
}

#[test]
fn a_stage_whose_gateways_fall_silent_does_not_end_its_bake() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    assert_eq!(leading.step(&reports, false, S), LeaderStep::Wait);
    reports.iter_mut().for_each(|it| it.age = ALIVE_NO_MORE);
    assert_eq!(leading.step(&reports, false, 50 * S), LeaderStep::Wait);
    assert_eq!(leading.step(&reports, false, 90 * S), LeaderStep::Wait);
    // One is back, and the bake begins again.
    reports[0].age = Duration::ZERO;
    assert_eq!(leading.step(&reports, false, 91 * S), LeaderStep::Wait);
    assert_eq!(leading.step(&reports, false, 150 * S), LeaderStep::Wait);
    let step = leading.step(&reports, false, 151 * S);
    assert!(matches!(step, LeaderStep::Enter(_)), "{step:?}");
}

#[test]
fn while_it_is_paused_nothing_bakes_and_a_veto_holds() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    leading.step(&reports, false, Duration::ZERO);
    for second in 0..200 {
        assert_eq!(leading.step(&reports, true, second * S), LeaderStep::Wait);
    }
    assert_eq!(
        leading.step(&reports, false, 258 * S),
        LeaderStep::Wait,
        "it begins again"
    );
    reports[0].state = GatewayState::Vetoed;
    assert!(matches!(
        leading.step(&reports, true, 259 * S),
        LeaderStep::Stop(_)
    ));
}

#[test]
fn a_stage_waits_for_its_samples_ten_bakes_at_most() {
    let course = Course {
        min_samples: 50,
        ..course()
    };
    let (mut leading, mut now) = (Leading::new(course, Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, followed);
    let begun = now;
    let step = next(&mut leading, &mut now, followed);
    assert_eq!(step, LeaderStep::Stop(StopReason::Samples { requests: 0 }));
    assert_eq!(now - begun, 600 * S);
}

#[test]
fn pinned_gateways_are_not_waited_for() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    reports[1].state = GatewayState::Pinned;
    reports[1].rollout = 0;
    leading.step(&reports, false, S);
    assert!(leading.is_baking());
}

#[test]
fn a_region_whose_only_gateway_was_gone_before_its_stage_is_passed_over() {
    let gone = |leading: &Leading| {
        let mut reports = followed(leading);
        if leading.is_baking() || leading.stage() != StageAt::Shadow {
            reports[0].age = ALIVE_NO_MORE;
        }
        reports
    };
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, gone);
    let share = 500;
    let step = next(&mut leading, &mut now, gone);
    assert_eq!(step, LeaderStep::Enter(StageAt::Share { region: 1, share }));
}

#[test]
fn a_region_that_is_not_left_in_the_end_is_not_named_as_passed_over() {
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    next(&mut leading, &mut now, followed);
    // The store does not take the step, twice, and then a gateway is there.
    let only_b = followed(&leading).split_off(1);
    for _ in 0..2 {
        let step = leading.step(&only_b, false, now);
        assert!(matches!(step, LeaderStep::Enter(_)), "{step:?}");
        assert_eq!(leading.passed_over().collect::<Vec<_>>(), ["a"]);
    }
    next(&mut leading, &mut now, followed);
    assert_eq!(leading.passed_over().next(), None);
}

#[test]
fn a_bake_that_begins_again_and_again_ends_as_stalled() {
    let mut leading = Leading::new(course(), Duration::ZERO);
    let mut reports = followed(&leading);
    let mut step = LeaderStep::Wait;
    let mut restarts = 0;
    while step == LeaderStep::Wait {
        restarts += 1;
        reports.iter_mut().for_each(|it| it.age = S);
        leading.step(&reports, false, restarts * 40 * S);
        reports.iter_mut().for_each(|it| it.age = ALIVE_NO_MORE);
        step = leading.step(&reports, false, restarts * 40 * S + S);
    }
    let gateways = vec!["1".to_owned(), "2".to_owned()];
    assert_eq!(step, LeaderStep::Stop(StopReason::Stalled { gateways }));
    assert_eq!(restarts, BAKES_MAX + 1);
}

#[test]
fn a_stage_whose_answer_was_lost_is_recorded_from_the_row_and_the_old_arm_is_kept() {
    let reports = |leading: &Leading| {
        let mut reports = followed(leading);
        reports[0].arms.arms = arms((200, 0), (200, 0));
        reports
    };
    let (mut leading, mut now) = (Leading::new(course(), Duration::ZERO), Duration::ZERO);
    for _ in 0..2 {
        next(&mut leading, &mut now, reports);
    }
    let all = StageAt::Share {
        region: 0,
        share: SHARE_ALL,
    };
    while leading.step(&reports(&leading), false, now) != LeaderStep::Enter(all) {
        now += S;
    }
    assert_eq!(leading.entered_unseen(("share", Some("a"), 2_500)), None);
    let row = ("share", Some("a"), SHARE_ALL);
    assert_eq!(leading.entered_unseen(row), Some(all));
    leading.entered(all, now);
    assert_eq!(leading.told(&reports(&leading)).arms.old.requests, 200);
    assert_eq!(leading.entered_unseen(row), None);
}
