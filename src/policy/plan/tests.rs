//! Tests of single plans, then properties of all plans.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use tidegate_model::{Consistency, SystemId, Timeline};
use tidegate_steering::{AttemptOutcome, Selector, SteeringSettings};

const MS: Duration = Duration::from_millis(1);

/// A node as described by a test: its condition, what it has replayed, and how stale it may be.
#[derive(Clone, Copy, Debug)]
struct Sketch {
    condition: NodeCondition,
    lsn: Option<u64>,
    timeline: u32,
    staleness_ms: Option<u32>,
}

const FRESH: Sketch = Sketch {
    condition: NodeCondition::Fresh,
    lsn: Some(100),
    timeline: 1,
    staleness_ms: Some(200),
};

fn sketch(condition: NodeCondition) -> Sketch {
    Sketch { condition, ..FRESH }
}

/// Nodes, nearest first, at one moment.
#[derive(Debug)]
struct Scene {
    now: Instant,
    nodes: Vec<(NodeId, NodeStatus)>,
    selector: Selector,
}

impl Scene {
    /// Replicas in their order; the primary is last, or first if it is the nearest.
    fn new(replicas: &[Sketch], primary: Sketch, primary_first: bool) -> Self {
        let now = Instant::now() + Duration::from_secs(3_600);
        let region = |index| format!("replica-{index}").parse().unwrap();
        let ids = (1..=replicas.len()).map(|index| NodeId::Replica(region(index)));
        let mut all: Vec<_> = ids.zip(replicas.iter().copied()).collect();
        let at = if primary_first { 0 } else { all.len() };
        all.insert(at, (NodeId::Primary, primary));
        let status = |(id, sketch): (NodeId, Sketch)| (id.clone(), status(id, sketch, now));
        let nodes: Vec<_> = all.into_iter().map(status).collect();
        let estimates: Vec<_> = (1..=nodes.len()).map(|place| MS * place as u32).collect();
        let selector = Selector::new(SteeringSettings::default(), 0, &estimates, now);
        Self {
            now,
            nodes,
            selector,
        }
    }

    /// The same nodes after requests to one of them have failed.
    fn with_failing(mut self, node: usize) -> Self {
        self.selector.lose(node, self.now);
        self
    }

    /// The same nodes while one that has failed is on probation.
    fn with_on_probation(mut self, node: usize) -> Self {
        self.selector.lose(node, self.now);
        self.now += Duration::from_secs(1);
        assert!(self.selector.claim_probe(node, self.now));
        let outcome = AttemptOutcome::Answered;
        self.selector.report(node, outcome, None, self.now);
        self
    }

    /// The same nodes after one of them was drained.
    fn with_drained(mut self, node: usize) -> Self {
        self.selector.drain(node, true);
        self
    }

    /// The same nodes after the writes have moved to another one, or to no node.
    fn with_primary(mut self, primary: Option<usize>) -> Self {
        for (index, (_, status)) in self.nodes.iter_mut().enumerate() {
            status.acts_as_primary = Some(index) == primary;
        }
        self
    }

    /// The node that takes the writes.
    fn primary(&self) -> Option<usize> {
        self.nodes
            .iter()
            .position(|(_, status)| status.acts_as_primary)
    }

    /// One or more replicas before a primary in order.
    fn before_primary(replicas: &[Sketch]) -> Self {
        Self::new(replicas, FRESH, false)
    }

    fn plan(&self, decision: &Decision, safe: bool) -> NodePlan {
        let view = |(id, status)| NodeView { id, status };
        let views: Vec<_> = self.nodes.iter().map(|(id, s)| view((id, s))).collect();
        let ranking = self.selector.clone().ranking(self.now);
        plan(decision, safe, &views, &ranking, self.now)
    }

    /// The plan of a safe request as `node:reason`, a wait marked by `?`.
    fn told(&self, decision: &Decision) -> String {
        let plan = self.plan(decision, true);
        let step = |step: &Step| {
            let node = self.nodes[step.node].0.as_str();
            let wait = if step.wait_for.is_some() { "?" } else { "" };
            format!("{node}{wait}:{}", step.reason)
        };
        plan.iter().map(step).collect::<Vec<_>>().join(" ")
    }
}

fn status(node: NodeId, sketch: Sketch, now: Instant) -> NodeStatus {
    let position = |lsn| WalPosition {
        system: SystemId(7),
        timeline: Timeline(sketch.timeline),
        lsn: Lsn(lsn),
    };
    NodeStatus {
        condition: sketch.condition,
        acts_as_primary: node.is_configured_primary(),
        reachable: Some(true),
        position: sketch.lsn.map(position),
        proven_at: sketch.staleness_ms.map(|ms| now - MS * ms),
        ..NodeStatus::unknown(node)
    }
}

fn token(timeline: u32, lsn: u64) -> RequestToken {
    RequestToken::Verified(WalPosition {
        system: SystemId(7),
        timeline: Timeline(timeline),
        lsn: Lsn(lsn),
    })
}

fn decision(consistency: Consistency, token: RequestToken) -> Decision {
    Decision {
        consistency,
        token,
        stated: true,
        own_rules: false,
        no_transform: false,
        session_cookie: false,
        cache_control: HeaderValue::from_static("no-store"),
        shared_cacheable: false,
        vary: false,
    }
}

fn eventual() -> Decision {
    decision(Consistency::EVENTUAL, RequestToken::None)
}

fn bounded(ms: u32) -> Decision {
    decision(Consistency::bounded(MS * ms), RequestToken::None)
}

fn strong() -> Decision {
    decision(Consistency::STRONG, RequestToken::None)
}

fn session(lsn: u64) -> Decision {
    decision(Consistency::SESSION, token(1, lsn))
}

#[test]
fn an_eventual_read_takes_the_nearest_that_serves() {
    let told = |replicas: &[Sketch]| Scene::before_primary(replicas).told(&eventual());
    let down = sketch(NodeCondition::Unreachable);
    let lagging = sketch(NodeCondition::Lagging);
    assert_eq!(told(&[FRESH]), "replica-1:fresh primary:fresh");
    assert_eq!(
        told(&[sketch(NodeCondition::Disconnected)]),
        "replica-1:fresh primary:fresh"
    );
    assert_eq!(told(&[down]), "primary:replica-down");
    assert_eq!(
        told(&[sketch(NodeCondition::Diverged)]),
        "primary:replica-down"
    );
    assert_eq!(
        told(&[down, FRESH]),
        "replica-2:replica-down primary:replica-down"
    );
    assert_eq!(
        told(&[lagging]),
        "primary:replica-lagging replica-1:replica-lagging"
    );
    assert_eq!(told(&[]), "primary:no-replica");
}

#[test]
fn a_near_primary_needs_no_replica_to_excuse_it() {
    let scene = Scene::new(&[FRESH], FRESH, true);
    assert_eq!(
        scene.told(&eventual()),
        "primary:no-replica replica-1:fresh"
    );
}

#[test]
fn of_those_that_lag_the_least_stale_comes_first_and_the_unproven_last() {
    let lagging = |staleness_ms| Sketch {
        staleness_ms,
        ..sketch(NodeCondition::Lagging)
    };
    let replicas = [lagging(None), lagging(Some(9_000)), lagging(Some(6_000))];
    let scene = Scene::new(&replicas, sketch(NodeCondition::Unreachable), false);
    let order =
        ["replica-3", "replica-2", "replica-1"].map(|node| format!("{node}:replica-lagging"));
    assert_eq!(scene.told(&eventual()), order.join(" "));
}

#[test]
fn a_node_of_which_nothing_is_known_is_not_asked() {
    let unknown = Sketch {
        lsn: None,
        staleness_ms: None,
        ..sketch(NodeCondition::Unknown)
    };
    let scene = Scene::new(&[unknown], unknown, false).with_primary(None);
    assert_eq!(scene.told(&eventual()), "");
    assert_eq!(scene.told(&strong()), "");
}

#[test]
fn the_primary_is_whoever_takes_the_writes() {
    let seat = sketch(NodeCondition::Diverged);
    let scene = Scene::new(&[FRESH, FRESH], seat, false).with_primary(Some(1));
    assert_eq!(scene.told(&strong()), "replica-2:strong");
    assert_eq!(scene.told(&eventual()), "replica-1:fresh replica-2:fresh");
    assert_eq!(
        scene.told(&session(101)),
        "replica-1?:waited replica-2:token-behind"
    );
    let write = scene.plan(&strong(), false);
    assert!(write[0].node == 1 && write[0].as_primary);
    let scene = scene.with_primary(Some(0));
    assert_eq!(
        scene.told(&eventual()),
        "replica-1:no-replica replica-2:fresh",
        "the nearest is the primary"
    );
}

#[test]
fn a_seat_that_became_a_replica_serves_as_one() {
    let scene = Scene::new(&[FRESH], FRESH, false).with_primary(Some(0));
    assert_eq!(scene.told(&strong()), "replica-1:strong");
    assert_eq!(
        scene.told(&bounded(200)),
        "replica-1:no-replica primary:within-bound"
    );
}

#[test]
fn without_a_primary_reads_go_on_and_nothing_is_written() {
    let scene = Scene::new(&[FRESH], sketch(NodeCondition::Diverged), false).with_primary(None);
    assert_eq!(scene.told(&strong()), "");
    assert!(scene.plan(&strong(), false).is_empty());
    assert_eq!(scene.told(&eventual()), "replica-1:fresh");
}

#[test]
fn a_token_of_a_later_timeline_rules_out_the_primary_of_an_earlier_one() {
    let scene = Scene::before_primary(&[FRESH]);
    for level in [Consistency::SESSION, Consistency::STRONG] {
        assert_eq!(scene.told(&decision(level, token(2, 1))), "");
        assert!(scene.plan(&decision(level, token(2, 1)), false).is_empty());
    }
}

#[test]
fn a_bounded_read_takes_what_is_proven_and_else_the_primary() {
    let replicas = [
        FRESH,
        Sketch {
            staleness_ms: Some(50),
            ..FRESH
        },
    ];
    let told = |bound| Scene::before_primary(&replicas).told(&bounded(bound));
    assert_eq!(
        told(200),
        "replica-1:within-bound replica-2:within-bound primary:bound-unproven"
    );
    assert_eq!(told(199), "replica-2:within-bound primary:bound-unproven");
    assert_eq!(told(49), "primary:bound-unproven");
    let without = Scene::new(&replicas, sketch(NodeCondition::Unreachable), false);
    assert_eq!(without.told(&bounded(49)), "");
}

#[test]
fn a_session_read_takes_whoever_has_reached_its_token() {
    let ahead = Sketch {
        lsn: Some(200),
        ..FRESH
    };
    let told = |replicas: &[Sketch], lsn| Scene::before_primary(replicas).told(&session(lsn));
    assert_eq!(
        told(&[FRESH], 100),
        "replica-1:token-reached primary:token-behind"
    );
    assert_eq!(
        told(&[FRESH], 101),
        "replica-1?:waited primary:token-behind"
    );
    assert_eq!(
        told(&[FRESH, ahead], 150),
        "replica-1?:waited replica-2:token-reached primary:token-behind"
    );
    assert_eq!(told(&[FRESH], 101 + WAIT_BYTES_MAX), "primary:token-behind");
}

#[test]
fn the_primary_serves_for_the_bound_where_a_replica_has_what_the_token_saw() {
    let within = Consistency::SESSION.stricter(Consistency::bounded(MS * 200));
    let beyond = Consistency::bounded(MS * 199);
    let told = |consistency, lsn| {
        let decision = decision(consistency, token(1, lsn));
        Scene::before_primary(&[FRESH]).told(&decision)
    };
    assert_eq!(
        told(within, 100),
        "replica-1:token-reached primary:bound-unproven"
    );
    assert_eq!(
        told(beyond, 100),
        "replica-1?:waited primary:bound-unproven"
    );
    assert_eq!(told(beyond, 101), "replica-1?:waited primary:token-behind");
}

#[test]
fn a_token_of_another_timeline_is_reached_by_no_replica() {
    let decision = decision(Consistency::SESSION, token(1, 1));
    let second = Sketch {
        timeline: 2,
        ..FRESH
    };
    let scene = Scene::before_primary(&[second]);
    assert_eq!(scene.told(&decision), "primary:token-behind");
}

#[test]
fn a_failing_node_comes_last_and_a_drained_replica_not_at_all() {
    let scene = || Scene::before_primary(&[FRESH, FRESH]);
    assert_eq!(
        scene().with_failing(0).told(&eventual()),
        "replica-2:replica-down primary:replica-down replica-1:fresh"
    );
    assert_eq!(
        scene().with_failing(0).told(&bounded(200)),
        "replica-2:within-bound primary:replica-down replica-1:within-bound"
    );
    assert_eq!(
        scene().with_drained(0).told(&eventual()),
        "replica-2:replica-down primary:replica-down"
    );
    assert_eq!(
        scene().with_drained(0).told(&session(101)),
        "replica-2?:waited primary:replica-down"
    );
}

#[test]
fn a_replica_on_probation_serves_before_the_primary_has_to() {
    let late = sketch(NodeCondition::Lagging);
    let told = |replicas: &[Sketch], decision: &Decision| {
        let scene = Scene::before_primary(replicas).with_on_probation(0);
        scene.told(decision)
    };
    for decision in [&eventual(), &bounded(5_000), &session(100)] {
        let plan = told(&[FRESH], decision);
        assert!(plan.starts_with("replica-1:"), "{plan}");
        let plan = told(&[FRESH, FRESH], decision);
        let nodes: Vec<_> = plan.split(' ').map(|it| &it[..7]).collect();
        assert_eq!(nodes, ["replica", "replica", "primary"], "{plan}");
        assert!(plan.starts_with("replica-2:"), "{plan}");
    }
    assert_eq!(
        told(&[FRESH], &session(101)),
        "replica-1?:waited primary:replica-down"
    );
    assert_eq!(
        told(&[late], &eventual()),
        "primary:replica-down replica-1:replica-lagging"
    );
    let near_primary = Scene::new(&[FRESH], FRESH, true).with_on_probation(1);
    assert_eq!(
        near_primary.told(&eventual()),
        "primary:no-replica replica-1:fresh",
        "the nearest node is no substitute"
    );
}

#[test]
fn a_failing_node_comes_after_those_that_lag() {
    let scene = Scene::before_primary(&[FRESH, sketch(NodeCondition::Lagging)]);
    assert_eq!(
        scene.with_failing(0).with_failing(2).told(&eventual()),
        "replica-2:replica-lagging replica-1:fresh primary:replica-down"
    );
}

#[test]
fn a_drained_primary_does_what_nobody_else_can() {
    let scene = || Scene::new(&[FRESH], FRESH, true).with_drained(0);
    assert_eq!(
        scene().told(&eventual()),
        "replica-1:fresh primary:no-replica"
    );
    assert_eq!(scene().told(&strong()), "primary:strong");
    assert_eq!(scene().told(&bounded(0)), "primary:no-replica");
}

#[test]
fn a_node_that_has_become_clearly_faster_is_asked_first() {
    let mut scene = Scene::before_primary(&[FRESH, FRESH]);
    for _ in 0..60 {
        scene.now += Duration::from_secs(1);
        for (node, ms) in [(0, 90), (1, 20), (2, 80)] {
            let latency = Some(MS * ms);
            scene
                .selector
                .report(node, AttemptOutcome::Answered, latency, scene.now);
        }
    }
    let order = "replica-2:fresh replica-1:fresh primary:fresh";
    assert_eq!(scene.told(&eventual()), order);
}

fn any_sketch() -> impl Strategy<Value = Sketch> {
    (
        proptest::sample::select(&NodeCondition::ALL[..]),
        proptest::option::weighted(0.8, 0_u64..300),
        1_u32..3,
        proptest::option::weighted(0.8, 0_u32..8_000),
    )
        .prop_map(|(condition, lsn, timeline, staleness_ms)| Sketch {
            condition,
            lsn,
            timeline,
            staleness_ms,
        })
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let replicas = proptest::collection::vec(any_sketch(), 0..4);
    let primary = proptest::option::weighted(0.8, 0_usize..5);
    let failing = proptest::option::of(0_usize..5);
    (replicas, any_sketch(), any::<bool>(), primary, failing).prop_map(
        |(replicas, seat, first, primary, failing)| {
            let scene = Scene::new(&replicas, seat, first).with_primary(primary);
            match failing.filter(|node| *node < scene.nodes.len()) {
                Some(node) => scene.with_failing(node),
                None => scene,
            }
        },
    )
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let consistency = prop_oneof![
        Just(Consistency::EVENTUAL),
        (0_u32..8_000).prop_map(|ms| Consistency::bounded(MS * ms)),
        Just(Consistency::SESSION),
        (0_u32..8_000).prop_map(|ms| Consistency::SESSION.stricter(Consistency::bounded(MS * ms))),
        Just(Consistency::STRONG),
    ];
    let token = prop_oneof![
        Just(RequestToken::None),
        Just(RequestToken::Unverifiable),
        (1_u32..3, 0_u64..300).prop_map(|(timeline, lsn)| token(timeline, lsn)),
    ];
    (consistency, token).prop_map(|(consistency, token)| decision(consistency, token))
}

impl Scene {
    /// Whether a node may be used at all.
    fn may_serve(&self, step: &Step) -> bool {
        let (_, status) = &self.nodes[step.node];
        match status.condition {
            NodeCondition::Fresh => true,
            NodeCondition::Unknown => !status.acts_as_primary && status.position.is_some(),
            NodeCondition::Lagging | NodeCondition::Disconnected => !status.acts_as_primary,
            NodeCondition::Diverged | NodeCondition::Promoted | NodeCondition::Unreachable => false,
        }
    }

    /// Whether a step keeps the promise of the decision, as far as is known now.
    fn keeps(&self, step: &Step, decision: &Decision) -> bool {
        let (_, status) = &self.nodes[step.node];
        let within = |bound| status.staleness(self.now).is_some_and(|age| age <= bound);
        let reached = match decision.token {
            RequestToken::None => true,
            RequestToken::Unverifiable => false,
            RequestToken::Verified(token) => status.position.is_some_and(|at| {
                let lsn = step.wait_for.map_or(at.lsn, |wait| wait.max(at.lsn));
                at.timeline == token.timeline && lsn >= token.lsn
            }),
        };
        let bound = decision.consistency.max_staleness;
        // A bound is not judged before a wait.
        let within = step.wait_for.is_some() || bound.is_none_or(within);
        match (status.acts_as_primary, decision.token) {
            (true, RequestToken::Verified(token)) => status
                .position
                .is_none_or(|at| at.timeline >= token.timeline),
            (true, RequestToken::None | RequestToken::Unverifiable) => true,
            (false, _) => decision.consistency.level != Level::Strong && reached && within,
        }
    }
}

proptest! {
    #[test]
    fn every_step_may_serve_and_keeps_the_promise(
        scene in any_scene(), decision in any_decision(),
    ) {
        for step in scene.plan(&decision, true) {
            prop_assert!(scene.may_serve(&step), "{step:?}");
            prop_assert!(scene.keeps(&step, &decision), "{step:?}");
        }
    }

    #[test]
    fn no_node_is_asked_twice_but_after_a_wait(
        scene in any_scene(), decision in any_decision(),
    ) {
        let plan = scene.plan(&decision, true);
        let mut asked: Vec<_> = plan.iter().map(|step| step.node).collect();
        asked.sort_unstable();
        asked.dedup();
        prop_assert_eq!(asked.len(), plan.len());
        let mut waits = plan.iter().skip(1).filter(|step| step.wait_for.is_some());
        prop_assert!(waits.next().is_none(), "only the first step waits");
    }

    #[test]
    fn a_write_is_the_primarys_whatever_else_is_asked(
        scene in any_scene(), decision in any_decision(),
    ) {
        let plan = scene.plan(&decision, false);
        prop_assert!(plan.len() <= 1);
        for step in &plan {
            prop_assert_eq!(Some(step.node), scene.primary());
            prop_assert!(step.as_primary);
            prop_assert_eq!(step.reason, Reason::Write);
        }
    }

    #[test]
    fn a_primary_in_order_is_in_every_plan(
        scene in any_scene(), decision in any_decision(), safe in any::<bool>(),
    ) {
        let plan = scene.plan(&decision, safe);
        let in_order = |primary: &usize| scene.nodes[*primary].1.condition == NodeCondition::Fresh;
        if let Some(primary) = scene.primary().filter(in_order) {
            let step = Step {
                node: primary,
                reason: Reason::Strong,
                as_primary: true,
                wait_for: None,
            };
            let listed = plan.iter().any(|step| step.node == primary);
            prop_assert_eq!(listed, scene.keeps(&step, &decision));
        }
    }

    #[test]
    fn an_eventual_read_is_refused_only_when_nobody_serves(scene in any_scene()) {
        let plan = scene.plan(&eventual(), true);
        let step = |node| Step {
            node,
            reason: Reason::Fresh,
            as_primary: false,
            wait_for: None,
        };
        let serving = (0..scene.nodes.len()).filter(|&node| scene.may_serve(&step(node)));
        prop_assert_eq!(plan.len(), serving.count());
    }
}
