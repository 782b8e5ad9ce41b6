use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fixtures::plan_of;
use crate::plan::{Plan, RegionIndex, Tier};

const TICK: Duration = Duration::from_millis(200);

const GOOD: Quantities = Quantities {
    errors: Some(0),
    p99: Some(50_000),
    saturation: Some(0),
    lag: 0,
};

const BAD: Quantities = Quantities {
    errors: Some(100_000),
    ..GOOD
};

/// A board of one region, and the time.
struct Watch {
    plan: Plan,
    board: Board,
    now: Duration,
    transitions: Vec<(f64, State)>,
    suspect: bool,
}

impl Watch {
    fn new() -> Self {
        let plan = plan_of(1, vec![Tier::Named(RegionIndex(0))]);
        let mut watch = Self {
            board: Board::new(&plan, Duration::ZERO),
            plan,
            now: Duration::ZERO,
            transitions: Vec::new(),
            suspect: false,
        };
        watch.one(&Reading::default());
        watch
    }

    fn state(&self) -> State {
        self.board.state(RegionIndex(0), 0)
    }

    fn one(&mut self, reading: &Reading) {
        let before = std::mem::discriminant(&self.state());
        self.board
            .step(&self.plan, &[*reading], self.suspect, self.now);
        if std::mem::discriminant(&self.state()) != before {
            self.transitions
                .push((self.now.as_secs_f64(), self.state()));
        }
    }

    fn run(&mut self, reading: Reading, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.one(&reading);
        }
    }

    fn see(&mut self, quantities: Quantities, seconds: f64) {
        let reading = Reading {
            quantities,
            ..Reading::default()
        };
        self.run(reading, Duration::from_secs_f64(seconds));
    }

    fn position(&self) -> Option<u16> {
        let standings = self.board.standings(&self.plan);
        standings[0].ramps.first().map(|(_, position)| *position)
    }
}

#[test]
fn a_region_leaves_when_the_clause_has_held_for_its_time_and_not_before() {
    let mut watch = Watch::new();
    watch.see(BAD, 1.8);
    watch.see(GOOD, 0.2);
    watch.see(BAD, 2.0);
    assert_eq!(watch.state(), State::Well);
    watch.see(BAD, 0.2);
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn it_returns_when_the_clause_has_held_and_comes_back_by_its_ramp() {
    let mut watch = Watch::new();
    watch.see(BAD, 3.0);
    watch.see(GOOD, 30.0);
    watch.see(BAD, 0.2);
    watch.see(GOOD, 60.0);
    assert_eq!(watch.state(), State::Left);
    watch.see(GOOD, 0.4);
    assert_eq!(watch.position(), Some(6));
    watch.see(GOOD, 150.0);
    assert_eq!(watch.position(), Some(5_006));
    watch.see(GOOD, 150.0);
    assert_eq!((watch.state(), watch.position()), (State::Well, None));
}

#[test]
fn a_region_that_is_bad_while_it_comes_back_leaves_again() {
    let mut watch = Watch::new();
    watch.see(BAD, 3.0);
    watch.see(GOOD, 100.0);
    assert!(matches!(watch.state(), State::Ramping { .. }));
    watch.see(BAD, 2.4);
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn a_square_wave_of_five_seconds_makes_at_most_two_transitions_in_ten_minutes() {
    let mut watch = Watch::new();
    for _ in 0..60 {
        watch.see(BAD, 5.0);
        watch.see(GOOD, 5.0);
    }
    assert!(watch.transitions.len() <= 2, "{:?}", watch.transitions);
    assert_eq!(watch.state(), State::Left);
}

proptest! {
    #[test]
    fn no_wave_shorter_than_the_time_to_return_makes_more_than_one_transition(
        bad in 0.2f64..30.0,
        good in 0.2f64..59.0,
    ) {
        let mut watch = Watch::new();
        while watch.now < Duration::from_secs(600) {
            watch.see(BAD, bad);
            watch.see(GOOD, good);
        }
        prop_assert!(watch.transitions.len() <= 1, "{:?}", watch.transitions);
    }
}

#[test]
fn under_five_samples_the_last_judgement_stands() {
    let mut watch = Watch::new();
    watch.see(BAD, 1.0);
    watch.see(Quantities::NONE, 1.4);
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn a_lag_that_is_not_known_exceeds_every_bound() {
    let mut watch = Watch::new();
    let lost = Quantities {
        lag: Quantities::LAG_UNKNOWN,
        ..GOOD
    };
    watch.see(lost, 2.4);
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn a_region_does_not_leave_by_load_when_the_others_have_no_room() {
    let mut watch = Watch::new();
    let slow = Reading {
        quantities: Quantities {
            p99: Some(900_000),
            ..GOOD
        },
        room: false,
        ..Reading::default()
    };
    watch.run(slow, Duration::from_secs(10));
    assert_eq!(watch.state(), State::Well);
    let failing = Reading {
        quantities: BAD,
        ..slow
    };
    watch.run(failing, Duration::from_secs(3));
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn without_a_new_word_of_itself_a_region_does_not_return() {
    let mut watch = Watch::new();
    watch.see(BAD, 3.0);
    let silent = Reading {
        quantities: GOOD,
        may_return: false,
        ..Reading::default()
    };
    watch.run(silent, Duration::from_secs(100));
    assert_eq!(watch.state(), State::Left);
    watch.see(GOOD, 60.2);
    assert!(matches!(watch.state(), State::Ramping { .. }));
}

#[test]
fn while_the_gateway_suspects_itself_no_time_counts() {
    let mut watch = Watch::new();
    watch.see(BAD, 1.8);
    watch.suspect = true;
    watch.see(BAD, 60.0);
    assert_eq!(watch.state(), State::Well);
    watch.suspect = false;
    watch.see(BAD, 0.6);
    assert_eq!(watch.state(), State::Left);
    watch.see(GOOD, 61.0);
    let before = watch.position();
    watch.suspect = true;
    watch.see(GOOD, 60.0);
    assert!(before.is_some());
    assert_eq!(watch.position(), before);
}

#[test]
fn a_region_that_cannot_be_reached_leaves_even_then() {
    let mut watch = Watch::new();
    watch.suspect = true;
    watch.run(unreachable(), TICK);
    assert!(watch.board.unreachable().has(RegionIndex(0)));
    watch.run(unreachable(), Duration::from_secs(3));
    assert_eq!(watch.state(), State::Left);
}

fn unreachable() -> Reading {
    Reading {
        reachable: false,
        quantities: GOOD,
        ..Reading::default()
    }
}

#[test]
fn a_loss_of_a_moment_is_none_and_a_longer_one_is_a_leave() {
    let mut watch = Watch::new();
    watch.run(unreachable(), Duration::from_millis(1_800));
    assert!(watch.board.unreachable().has(RegionIndex(0)));
    watch.see(GOOD, 0.2);
    assert!(watch.board.unreachable().is_empty());
    assert_eq!(watch.state(), State::Well);
    watch.run(unreachable(), Duration::from_millis(2_400));
    watch.see(GOOD, 59.0);
    assert_eq!(watch.state(), State::Left);
    watch.see(GOOD, 2.0);
    assert!(matches!(watch.state(), State::Ramping { .. }));
}

#[test]
fn a_third_loss_in_a_minute_is_no_accident() {
    let mut watch = Watch::new();
    for _ in 0..2 {
        watch.run(unreachable(), TICK);
        watch.see(GOOD, 5.0);
        assert_eq!(watch.state(), State::Well);
    }
    watch.run(unreachable(), TICK);
    watch.see(GOOD, 5.0);
    assert_eq!(watch.state(), State::Left);
}

#[test]
fn two_losses_a_minute_are_forgiven_for_ever() {
    let mut watch = Watch::new();
    for _ in 0..20 {
        watch.run(unreachable(), TICK);
        watch.see(GOOD, 31.0);
        assert_eq!(watch.state(), State::Well);
    }
}

#[test]
fn a_region_is_well_when_it_is_reached_for_the_first_time() {
    let plan = plan_of(1, vec![Tier::Named(RegionIndex(0))]);
    let mut board = Board::new(&plan, Duration::ZERO);
    assert!(board.unreachable().has(RegionIndex(0)));
    board.step(&plan, &[unreachable()], false, Duration::from_secs(100));
    board.step(
        &plan,
        &[Reading::default()],
        false,
        Duration::from_secs(101),
    );
    assert!(board.unreachable().is_empty());
    assert_eq!(board.state(RegionIndex(0), 0), State::Well);
}

#[test]
fn the_end_of_a_drain_is_a_return() {
    let mut watch = Watch::new();
    let drained = Reading {
        quantities: GOOD,
        draining: true,
        ..Reading::default()
    };
    watch.run(drained, Duration::from_secs(10));
    assert!(watch.board.draining().has(RegionIndex(0)));
    watch.see(GOOD, 0.2);
    assert_eq!(watch.position(), Some(0));
    watch.see(GOOD, 300.0);
    assert_eq!(watch.state(), State::Well);
}

#[test]
fn a_new_plan_keeps_the_state_of_what_is_in_both_and_the_worst_for_a_new_pair() {
    let mut watch = Watch::new();
    watch.see(BAD, 3.0);
    let plan = plan_of(2, vec![Tier::Named(RegionIndex(1))]);
    let board = watch.board.adopt(&watch.plan, &plan);
    assert_eq!(board.state(RegionIndex(0), 0), State::Left);
    assert_eq!(board.state(RegionIndex(1), 0), State::Well);
    assert!(board.unreachable().has(RegionIndex(1)));
    let never = crate::fixtures::plan_without_clauses();
    let board = watch.board.adopt(&watch.plan, &never);
    assert_eq!(board.state(RegionIndex(0), 0), State::Left);
}

mod samples {
    use super::*;

    fn add(samples: &mut Samples, count: u64, outcome: Outcome, millis: u64, now: Duration) {
        for _ in 0..count {
            samples.add(outcome, Duration::from_millis(millis), now);
        }
    }

    #[test]
    fn the_window_is_two_seconds_when_they_hold_fifty_samples() {
        let mut samples = Samples::default();
        add(
            &mut samples,
            100,
            Outcome::Failed,
            10,
            Duration::from_secs(1),
        );
        add(
            &mut samples,
            50,
            Outcome::Served,
            10,
            Duration::from_millis(3_200),
        );
        let quantities = samples.quantities(true, Duration::from_millis(3_200));
        assert_eq!(quantities.errors, Some(0));
    }

    #[test]
    fn with_fewer_it_is_as_long_as_fifty_take() {
        let mut samples = Samples::default();
        add(
            &mut samples,
            100,
            Outcome::Failed,
            10,
            Duration::from_secs(1),
        );
        add(
            &mut samples,
            25,
            Outcome::Served,
            10,
            Duration::from_secs(20),
        );
        let quantities = samples.quantities(true, Duration::from_secs(20));
        assert_eq!(quantities.errors, Some(500_000));
    }

    #[test]
    fn it_is_never_longer_than_half_a_minute_and_under_five_say_nothing() {
        let mut samples = Samples::default();
        add(
            &mut samples,
            100,
            Outcome::Failed,
            10,
            Duration::from_secs(1),
        );
        add(
            &mut samples,
            4,
            Outcome::Served,
            10,
            Duration::from_secs(32),
        );
        let quantities = samples.quantities(true, Duration::from_secs(32));
        assert_eq!(quantities, Quantities::NONE);
        add(
            &mut samples,
            1,
            Outcome::Served,
            10,
            Duration::from_secs(32),
        );
        let quantities = samples.quantities(true, Duration::from_secs(32));
        assert_eq!(quantities.errors, Some(0));
    }

    #[test]
    fn a_summary_says_how_long_its_window_is_and_where_the_times_lie() {
        let window = |count, second, now| {
            let mut samples = Samples::default();
            add(
                &mut samples,
                count,
                Outcome::Served,
                10,
                Duration::from_secs(second),
            );
            samples.summary(Duration::from_secs(now)).window.as_secs()
        };
        assert_eq!(window(50, 1, 2), 2);
        assert_eq!(window(50, 1, 13), 12);
        assert_eq!(window(49, 1, 2), 30);
        assert_eq!(window(60, 1, 90), 30);
        let mut samples = Samples::default();
        for millis in 1..=1_000 {
            add(&mut samples, 1, Outcome::Served, millis, Duration::ZERO);
        }
        let points = samples.summary(Duration::ZERO).points;
        let exact = [500, 900, 950, 980, 990, 995].map(Duration::from_millis);
        for (point, exact) in points.into_iter().zip(exact) {
            assert!(point >= exact && point <= exact.mul_f64(1.04), "{point:?}");
        }
    }

    #[test]
    fn what_every_region_lacks_is_no_error() {
        let mut samples = Samples::default();
        add(
            &mut samples,
            90,
            Outcome::NoPrimary,
            10,
            Duration::from_secs(1),
        );
        add(
            &mut samples,
            10,
            Outcome::Failed,
            10,
            Duration::from_secs(1),
        );
        let errors = |elsewhere| samples.quantities(elsewhere, Duration::from_secs(1)).errors;
        assert_eq!(
            (errors(true), errors(false)),
            (Some(1_000_000), Some(100_000))
        );
    }

    proptest! {
        #[test]
        fn p99_is_the_exact_one_to_three_percent_and_never_less(
            times in prop::collection::vec(0u64..2_000_000, 5..400),
        ) {
            let mut samples = Samples::default();
            for time in &times {
                samples.add(Outcome::Served, Duration::from_micros(*time), Duration::ZERO);
            }
            let mut sorted = times;
            sorted.sort_unstable();
            let above = sorted.len() / 100;
            let exact = sorted[sorted.len() - 1 - above];
            let found = samples.quantities(true, Duration::ZERO).p99.unwrap();
            prop_assert!(found >= exact && found <= exact + exact / 32 + 1, "{found} for {exact}");
        }
    }
}
