use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn selector(estimates: &[u64]) -> (Selector, Instant) {
    let now = Instant::now();
    let estimates: Vec<_> = estimates
        .iter()
        .map(|&it| Duration::from_millis(it))
        .collect();
    let selector = Selector::new(SteeringSettings::default(), 0, &estimates, now);
    (selector, now)
}

fn chosen(selector: &mut Selector, now: Instant) -> Vec<usize> {
    selector.ranking(now).choose(|_| true).to_vec()
}

#[test]
fn distance_decides_before_the_first_report() {
    let (mut selector, now) = selector(&[1, 80, 200]);
    assert_eq!(chosen(&mut selector, now), [0, 1, 2]);
}

#[test]
fn only_the_eligible_are_chosen() {
    let (mut selector, now) = selector(&[1, 80, 200]);
    let choice = selector.ranking(now).choose(|it| it != 0);
    assert_eq!(choice.as_slice(), [1, 2]);
    assert!(selector.ranking(now).choose(|_| false).is_empty());
}

#[test]
fn a_lost_candidate_is_left_out_at_once_and_trusted_again_after_half_the_dwell() {
    let (mut selector, now) = selector(&[1, 80]);
    assert!(selector.lose(0, now));
    assert_eq!(chosen(&mut selector, now), [1]);
    let due = selector.ranking(now).valid_until();
    assert!(due <= now + SECOND);
    assert_eq!(selector.ranking(due).probes_due().next(), Some(0));
    assert!(selector.claim_probe(0, due));
    assert_eq!(selector.ranking(due).probes_due().next(), None);
    assert!(selector.report(0, AttemptOutcome::Answered, None, due));
    assert_eq!(chosen(&mut selector, due), [1, 0], "on probation");
    let trusted = selector.ranking(due).valid_until();
    assert_eq!(trusted, due + SteeringSettings::default().dwell / 2);
    assert_eq!(chosen(&mut selector, trusted), [0, 1]);
}

#[test]
fn a_failure_on_probation_starts_it_anew() {
    let (mut selector, now) = selector(&[1, 80]);
    selector.lose(0, now);
    let due = selector.ranking(now).valid_until();
    selector.claim_probe(0, due);
    selector.report(0, AttemptOutcome::Answered, None, due);
    let probation = SteeringSettings::default().dwell / 2;
    let later = due + probation - SECOND;
    selector.report(0, AttemptOutcome::Failed, None, later);
    assert_eq!(chosen(&mut selector, due + probation), [1, 0]);
    assert_eq!(chosen(&mut selector, later + probation), [0, 1]);
}

/// Good for five seconds, bad for five: it loses its place once and does not get it back.
#[test]
fn a_candidate_that_alternates_is_left_once() {
    let (mut selector, start) = selector(&[1, 80]);
    let mut firsts = Vec::new();
    for tick in 0..480_u64 {
        let now = start + Duration::from_millis(250) * u32::try_from(tick).unwrap();
        let good = (tick / 20) % 2 == 0;
        let ranking = selector.ranking(now);
        if good && ranking.probes_due().next() == Some(0) {
            selector.claim_probe(0, now);
        }
        match good {
            true => selector.report(0, AttemptOutcome::Answered, Some(MS), now),
            false => selector.lose(0, now),
        };
        selector.report(1, AttemptOutcome::Answered, Some(80 * MS), now);
        firsts.push(chosen(&mut selector, now)[0]);
    }
    firsts.dedup();
    assert_eq!(firsts, [0, 1]);
}

#[test]
fn when_all_are_open_breakers_are_ignored_but_drains_are_not() {
    let (mut selector, now) = selector(&[1, 80, 200]);
    for index in 0..3 {
        selector.lose(index, now);
    }
    assert_eq!(chosen(&mut selector, now), [0, 1, 2]);
    selector.drain(1, true);
    assert_eq!(chosen(&mut selector, now), [0, 2]);
    selector.drain(1, false);
    assert_eq!(chosen(&mut selector, now), [0, 1, 2]);
}

#[test]
fn a_slower_first_is_overtaken_after_the_dwell() {
    let (mut selector, start) = selector(&[1, 80]);
    let mut switched = None;
    for tick in 0..600_u32 {
        let now = start + Duration::from_millis(250) * tick;
        selector.report(0, AttemptOutcome::Answered, Some(150 * MS), now);
        selector.report(1, AttemptOutcome::Answered, Some(80 * MS), now);
        if chosen(&mut selector, now)[0] == 1 {
            switched = Some(now - start);
            break;
        }
    }
    let dwell = SteeringSettings::default().dwell;
    let switched = switched.unwrap();
    assert!(
        (dwell..dwell + 10 * SECOND).contains(&switched),
        "{switched:?}"
    );
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Report(usize, bool, u64),
    Lose(usize),
    Claim(usize),
    Drain(usize, bool),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let candidate = || 0..4_usize;
    let event = prop_oneof![
        8 => (candidate(), any::<bool>(), 0..500_u64)
            .prop_map(|(index, good, ms)| Event::Report(index, good, ms)),
        1 => candidate().prop_map(Event::Lose),
        1 => candidate().prop_map(Event::Claim),
        1 => (candidate(), any::<bool>()).prop_map(|(index, drained)| Event::Drain(index, drained)),
        4 => (0..20_000_u64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 0..200)
}

/// Replays events and returns the choice after each.
fn play(events: &[Event], seed: u64, start: Instant) -> Vec<(Ranking, Vec<usize>)> {
    let settings = SteeringSettings::default();
    let mut selector = Selector::new(settings, seed, &[MS, 50 * MS, 80 * MS, 200 * MS], start);
    let mut now = start;
    let mut seen = Vec::new();
    for event in events {
        match *event {
            Event::Report(index, good, ms) => {
                let outcome = if good {
                    AttemptOutcome::Answered
                } else {
                    AttemptOutcome::Failed
                };
                let latency = good.then(|| Duration::from_millis(ms));
                selector.report(index, outcome, latency, now);
            }
            Event::Lose(index) => {
                selector.lose(index, now);
            }
            Event::Claim(index) => {
                selector.claim_probe(index, now);
            }
            Event::Drain(index, drained) => selector.drain(index, drained),
            Event::Pass(ms) => now += Duration::from_millis(ms),
        }
        let ranking = selector.ranking(now);
        let chosen = ranking.choose(|_| true).to_vec();
        assert!(ranking.valid_until() > now);
        seen.push((ranking, chosen));
    }
    seen
}

proptest! {
    #[test]
    fn no_open_or_drained_candidate_is_chosen_while_another_is_there(events in events()) {
        for (ranking, chosen) in play(&events, 1, Instant::now()) {
            let standing = |candidate: usize| {
                let ranked = ranking.best_first().iter().find(|it| it.candidate == candidate);
                ranked.unwrap().standing
            };
            let count = |wanted: Standing| (0..4).filter(|&it| standing(it) == wanted).count();
            let working = count(Standing::Trusted) + count(Standing::OnProbation);
            let in_service = 4 - count(Standing::Drained);
            prop_assert_eq!(chosen.len(), if working > 0 { working } else { in_service });
            prop_assert!(chosen.iter().all(|&it| standing(it) != Standing::Drained));
            let first_on_probation = chosen.iter().position(|&it| standing(it) == Standing::OnProbation);
            let last_trusted = chosen.iter().rposition(|&it| standing(it) == Standing::Trusted);
            if let (Some(first), Some(last)) = (first_on_probation, last_trusted) {
                prop_assert!(last < first);
            }
        }
    }

    #[test]
    fn the_same_reports_give_the_same_choice_in_every_process(events in events(), seed: u64) {
        let start = Instant::now();
        let choices = |start| {
            let played = play(&events, seed, start);
            played.into_iter().map(|(_, chosen)| chosen).collect::<Vec<_>>()
        };
        prop_assert_eq!(choices(start), choices(start + 1_000 * SECOND));
    }

    #[test]
    fn whatever_happened_all_are_trusted_again_once_all_is_well(events in events()) {
        let start = Instant::now();
        let mut selector = Selector::new(SteeringSettings::default(), 0, &[MS, 50 * MS, 80 * MS, 200 * MS], start);
        let mut now = start;
        for event in &events {
            match *event {
                Event::Report(index, good, ms) => {
                    let outcome = if good { AttemptOutcome::Answered } else { AttemptOutcome::Failed };
                    selector.report(index, outcome, good.then(|| Duration::from_millis(ms)), now);
                }
                Event::Lose(index) => { selector.lose(index, now); }
                Event::Claim(index) => { selector.claim_probe(index, now); }
                Event::Drain(..) => {}
                Event::Pass(ms) => now += Duration::from_millis(ms),
            }
        }
        // The longest pause, a probe, probation, the fading of old latencies, the dwell.
        for _ in 0..180 {
            now += SECOND;
            for (index, ms) in [1, 50, 80, 200].into_iter().enumerate() {
                selector.claim_probe(index, now);
                selector.report(index, AttemptOutcome::Answered, Some(Duration::from_millis(ms)), now);
            }
            selector.ranking(now);
        }
        prop_assert_eq!(chosen(&mut selector, now), [0, 1, 2, 3]);
    }
}
