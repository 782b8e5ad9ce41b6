use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{Instant, advance};

use super::{Everywhere, entrance, file, goes_to, head, in_force, region, routed};
use crate::regions::{
    PolicyTrial, RegionJudge, RegionNode, RegionRoute, RegionView, TrafficPlans, TrafficPolicy,
    TrialCounters,
};
use tidegate_steering::{AttemptOutcome, Selector, SharedSelector, SteeringSettings};
use tidegate_traffic::facts::Conditions;
use tidegate_traffic::health::{Outcome, State};
use tidegate_traffic::plan::{RegionIndex, RegionMask};

const POLICY: &str = "\
region eu-west-1
region us-east-1
defaults {
  leave   when errors > 5% or p99 > 100ms for 2s
  return  when errors < 1% and p99 < 50ms for 10s
}
policy p { prefer us-east-1 | eu-west-1 }
";

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const FAR: RegionIndex = RegionIndex(1);

fn selector(nodes: usize) -> Arc<SharedSelector> {
    let now = Instant::now();
    let estimates = vec![MS; nodes];
    let selector = Selector::new(SteeringSettings::default(), 0, &estimates, now);
    Arc::new(SharedSelector::new(selector, now))
}

/// A node of us-east-1.
fn node(selector: &Arc<SharedSelector>, candidate: usize) -> RegionNode {
    RegionNode {
        region: region("us-east-1"),
        selector: Arc::clone(selector),
        candidate,
        is_checked: true,
        database: None,
    }
}

/// Judges in steps of 100 ms, and returns when a state was reached.
fn until(
    judge: &mut RegionJudge,
    state: State,
    from: Duration,
    mut at: impl FnMut(&mut RegionJudge, Duration) -> RegionView,
) -> Duration {
    let file = file(POLICY);
    let mut now = from;
    loop {
        let view = at(judge, now);
        let views = [RegionView::default(), view];
        judge.step(&file.plan, (&views, RegionMask::first(2)), (0, now));
        if judge.worst(&file.plan, FAR) == state {
            return now - from;
        }
        now += 100 * MS;
        assert!(now - from < 60 * SECOND, "never {state:?}");
    }
}

#[test]
fn errors_over_the_bound_for_its_time_make_a_region_leave_and_its_checks_bring_it_back() {
    let file = file(POLICY);
    let mut judge = RegionJudge::new(&file.plan, None, None, Duration::ZERO);
    let answering = || RegionView {
        nodes: vec![Some(80 * MS)],
        ..RegionView::default()
    };
    let left = until(&mut judge, State::Left, Duration::ZERO, |judge, now| {
        for outcome in [Outcome::Served, Outcome::Failed] {
            judge.add(FAR, "a", outcome, 80 * MS, now);
        }
        answering()
    });
    // Five samples are needed first.
    assert_eq!(left, Duration::from_millis(2_200));
    assert_eq!(judge.bad_since(FAR), Some(Duration::ZERO));
    let back = until(&mut judge, State::Well, left + 5 * SECOND, |_, _| {
        answering()
    });
    // The last failures are in the window for as long as there are not 50 newer samples.
    assert!(back > 10 * SECOND && back < 17 * SECOND, "{back:?}");
    assert_eq!(judge.bad_since(FAR), None);
}

/// Judges a region with one node for ten seconds, in steps of 100 ms.
fn judge_for(
    judge: &mut RegionJudge,
    seconds: u32,
    usual: Option<Duration>,
    mut at: impl FnMut(&mut RegionJudge, Duration),
) {
    let file = file(POLICY);
    for step in 0..10 * seconds {
        let now = step * 100 * MS;
        at(judge, now);
        let view = RegionView {
            nodes: vec![usual],
            ..RegionView::default()
        };
        let views = [RegionView::default(), view];
        judge.step(&file.plan, (&views, RegionMask::first(2)), (0, now));
    }
}

#[test]
fn a_region_that_gets_no_requests_shows_none_whatever_it_is_judged_by() {
    let mut judge = RegionJudge::new(&file(POLICY).plan, None, None, Duration::ZERO);
    judge_for(&mut judge, 60, None, |judge, now| {
        if now < 5 * SECOND {
            judge.add(FAR, "a", Outcome::Failed, MS, now);
        }
    });
    // It has left, and is judged by its node, which does not answer.
    assert_eq!(judge.quantities(FAR).errors, Some(1_000_000));
    let shown = judge.attempted(FAR);
    assert_eq!(
        (shown.errors, shown.p99, judge.rate(FAR)),
        (None, None, 0.0)
    );
}

#[test]
fn only_what_was_answered_has_a_percentile() {
    let shown = |outcome| {
        let mut judge = RegionJudge::new(&file(POLICY).plan, None, None, Duration::ZERO);
        judge_for(&mut judge, 10, Some(MS), |judge, now| {
            judge.add(FAR, "a", outcome, MS, now);
        });
        assert!(judge.rate(FAR) > 9.0, "{}", judge.rate(FAR));
        let shown = judge.attempted(FAR);
        (shown.errors, shown.p99)
    };
    assert_eq!(shown(Outcome::Failed), (Some(1_000_000), None));
    assert_eq!(shown(Outcome::Served), (Some(0), Some(0)));
}

#[test]
fn distance_is_not_slowness() {
    let file = file(POLICY);
    let mut judge = RegionJudge::new(&file.plan, None, None, Duration::ZERO);
    for step in 0..100 {
        let now = step * 100 * MS;
        judge.add(FAR, "a", Outcome::Served, 300 * MS, now);
        let views = [RegionView::default(), RegionView::default()];
        judge.step(&file.plan, (&views, RegionMask::first(2)), (0, now));
        assert_eq!(judge.worst(&file.plan, FAR), State::Well);
    }
    let left = until(&mut judge, State::Left, 10 * SECOND, |judge, now| {
        judge.add(FAR, "a", Outcome::Served, 500 * MS, now);
        RegionView::default()
    });
    assert!(left < 3 * SECOND, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_region_is_unreachable_as_soon_as_its_last_node_does_not_answer() {
    let selector = selector(2);
    let traffic = in_force(POLICY, None, vec![node(&selector, 0), node(&selector, 1)]);
    let request = head("203.0.113.7", &[]);
    assert_eq!(goes_to(&traffic, &request), "us-east-1");
    selector.lose(0, Instant::now());
    tokio::task::yield_now().await;
    assert_eq!(goes_to(&traffic, &request), "us-east-1");
    selector.lose(1, Instant::now());
    advance(MS).await;
    assert_eq!(goes_to(&traffic, &request), "eu-west-1");
    assert_eq!(routed(&traffic, &request).reason.as_str(), "left");
    assert_eq!(traffic.regions()[1].state, "unreachable");
}

#[tokio::test(start_paused = true)]
async fn another_region_without_nodes_here_is_unknown_until_a_fleet_judges_it() {
    let traffic = in_force(POLICY, None, Vec::new());
    let states = || traffic.regions().into_iter().map(|it| it.state);
    assert!(states().eq(["well", "unknown"]));
    // Policies still take it for well.
    assert_eq!(goes_to(&traffic, &head("203.0.113.7", &[])), "us-east-1");
    traffic.judged_by_fleet(Conditions::default());
    assert!(states().eq(["well", "well"]));
    let selector = selector(1);
    let traffic = in_force(POLICY, None, vec![node(&selector, 0)]);
    let region = &traffic.regions()[1];
    assert_eq!((region.state, region.has_database), ("well", false));
}

#[tokio::test(start_paused = true)]
async fn the_gauge_of_states_says_unknown_until_a_fleet_judges_the_region() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let is_in = |state: &str| {
        let page = recorder.handle().render();
        let series = format!("tidegate_region_state{{region=\"us-east-1\",state=\"{state}\"}} 1");
        page.lines().any(|line| line == series)
    };
    metrics::with_local_recorder(&recorder, || {
        let traffic = in_force(POLICY, None, Vec::new());
        assert!(is_in("unknown") && !is_in("well"));
        traffic.judged_by_fleet(Conditions::default());
        assert!(is_in("well") && !is_in("unknown"));
    });
}

#[tokio::test(start_paused = true)]
async fn a_region_all_of_whose_nodes_are_drained_is_draining() {
    let selector = selector(1);
    let traffic = in_force(POLICY, None, vec![node(&selector, 0)]);
    selector.drain(0, true, Instant::now());
    advance(MS).await;
    let request = head("203.0.113.7", &[]);
    assert_eq!(goes_to(&traffic, &request), "eu-west-1");
    assert_eq!(routed(&traffic, &request).reason.as_str(), "draining");
    assert_eq!(traffic.regions()[1].state, "draining");
}

#[tokio::test(start_paused = true)]
async fn another_policy_takes_over_what_is_known_of_regions() {
    let selector = selector(1);
    let before = in_force(POLICY, None, vec![node(&selector, 0)]);
    for _ in 0..30 {
        let far = region("us-east-1");
        before.sample(&far, "a", Outcome::Failed, MS);
        advance(100 * MS).await;
    }
    let request = head("203.0.113.7", &[]);
    assert_eq!(goes_to(&before, &request), "eu-west-1");
    let since = before.regions()[1].since;
    assert!(since >= MS, "{since:?}");
    let other = file(&POLICY.replace("policy p", "policy q"));
    let nodes = vec![node(&selector, 0)];
    let after = TrafficPolicy::start(other, None, entrance(), nodes, Some(&before));
    assert_eq!(goes_to(&after, &request), "eu-west-1");
    assert_eq!(after.regions()[1].since, since);
    selector.report(0, AttemptOutcome::Answered, Some(MS), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_policy_on_trial_keeps_what_is_known_of_regions_and_goes_on_with_it_in_force() {
    let selector = selector(1);
    let before = in_force(POLICY, None, vec![node(&selector, 0)]);
    let far = region("us-east-1");
    for _ in 0..30 {
        before.sample(&far, "a", Outcome::Failed, MS);
        advance(100 * MS).await;
    }
    let request = head("203.0.113.7", &[]);
    let other = file(&POLICY.replace("policy p", "policy q"));
    let nodes = vec![node(&selector, 0)];
    let beside = TrafficPolicy::start_beside(other, (None, entrance()), nodes, Some(&before));
    assert_eq!(goes_to(&beside, &request), "eu-west-1");
    beside.take_over(Some(&before));
    assert_eq!(goes_to(&beside, &request), "eu-west-1");
    assert_eq!(beside.regions()[1].state, "left");
}

#[tokio::test(start_paused = true)]
async fn while_a_rollout_is_open_each_key_is_decided_by_one_plan_and_both_learn_of_regions() {
    let selector = selector(1);
    let old = in_force(POLICY, None, vec![node(&selector, 0)]);
    let stay = POLICY.replace("prefer us-east-1 | eu-west-1", "prefer eu-west-1");
    let nodes = vec![node(&selector, 0)];
    let new = TrafficPolicy::start_beside(file(&stay), (None, entrance()), nodes, Some(&old));
    let counters = Arc::<TrialCounters>::default();
    let plans = |share| TrafficPlans {
        in_force: Some(Arc::clone(&old)),
        trial: Some(PolicyTrial {
            policy: Arc::clone(&new),
            rollout: 7,
            started: 0,
            share,
            counters: Arc::clone(&counters),
        }),
        pinned: false,
    };
    let decide = |share, client: u8| {
        let head = head(&format!("203.0.113.{client}"), &[]);
        let route = RegionRoute::decide(&plans(share), &head, "/x", &Everywhere);
        let route = route.unwrap().unwrap();
        route.acted_upon(&route.routed, MS, false);
        route.routed.region.as_ref().unwrap().to_string()
    };
    let moved = |share| {
        (0..200)
            .filter(|it| decide(share, *it) == "eu-west-1")
            .count()
    };
    assert_eq!(moved(0), 0);
    assert!((20..80).contains(&moved(2_500)));
    assert_eq!(moved(10_000), 200);
    let report = counters.report();
    assert_eq!((report.decided, report.changed), (600, 600));
    assert_eq!(report.arms.new.requests + report.arms.old.requests, 600);

    let far = region("us-east-1");
    let head = head("203.0.113.7", &[]);
    let route = RegionRoute::decide(&plans(0), &head, "/x", &Everywhere);
    let route = route.unwrap().unwrap();
    for _ in 0..30 {
        route.sample(&far, "a", Outcome::Failed, MS);
        advance(100 * MS).await;
    }
    assert_eq!(
        [&old, &new].map(|it| it.regions()[1].state),
        ["left", "left"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_square_wave_of_five_seconds_moves_a_region_once_in_ten_minutes() {
    let policy = POLICY.replace("for 10s", "for 60s ramp 5m");
    let selector = selector(1);
    let traffic = in_force(&policy, None, vec![node(&selector, 0)]);
    let (mut moves, mut state) = (0, "well");
    let far = region("us-east-1");
    for step in 0..6_000 {
        let bad = (step / 50) % 2 == 0;
        // What a gateway would see: requests, or checks that fail in the same rhythm.
        let outcome = if bad {
            Outcome::Failed
        } else {
            Outcome::Served
        };
        traffic.sample(&far, "a", outcome, MS);
        advance(100 * MS).await;
        let now = traffic.regions()[1].state;
        moves += u32::from(now != state);
        state = now;
    }
    assert_eq!((moves, state), (1, "left"));
}
