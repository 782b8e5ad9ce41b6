//! The decision: the consistency that a request requires, and which nodes can honour it, in which
//! order.
//!
//! Everything that a request needs before it is sent to a node, except reading its headers and
//! finding its endpoint. `make bench` reads this table.

mod policies;
mod region;

use std::hint::black_box;
use std::time::Duration;

use divan::{AllocProfiler, Bencher};
use http::Method;
use tidegate_model::NodeId;
use tidegate_model::Place;
use tidegate_model::normalise;
use tidegate_model::{Consistency, RequestToken};
use tidegate_model::{NodeCondition, NodeStatus};
use tidegate_policy::PolicyRow;
use tidegate_policy::{Decision, PolicyTable};
use tidegate_policy::{NodeView, plan};
use tidegate_steering::{Ranking, Selector, SteeringSettings};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROWS: usize = 1_000;
/// Requests that are decided in turns, each under another row.
const PATHS: usize = 64;
/// Decisions timed at once, so that reading the clock does not dominate the measurement.
const SAMPLE_SIZE: u32 = 50 * PATHS as u32;
/// Enough for some seconds: shared machines have slow moments.
const SAMPLES: u32 = 10_000;

fn main() {
    divan::main();
}

fn table() -> PolicyTable {
    let row = |number| PolicyRow {
        path: format!("/area-{number}/*"),
        consistency: Consistency::EVENTUAL,
        cache_control: Some("public, max-age=300, stale-while-revalidate=60".to_owned()),
        session_cookie: false,
        rate_limit: None,
        cors: None,
        place: Place::Name("bench"),
    };
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    PolicyTable::build(&rows).expect("the rows do not tie")
}

/// Two replicas and the primary, all in order.
fn nodes() -> Vec<NodeStatus> {
    let region = |name: &str| NodeId::Replica(name.parse().expect("a region"));
    let now = Instant::now();
    let fresh = |node: NodeId| NodeStatus {
        condition: NodeCondition::Fresh,
        acts_as_primary: node == NodeId::Primary,
        proven_at: Some(now),
        lag: Some(Duration::ZERO),
        ..NodeStatus::unknown(node)
    };
    [
        region("eu-west-1"),
        region("ap-southeast-1"),
        NodeId::Primary,
    ]
    .map(fresh)
    .into()
}

fn ranking(nodes: &[NodeStatus], now: Instant) -> Ranking {
    let estimates = vec![Duration::from_millis(1); nodes.len()];
    Selector::new(SteeringSettings::default(), 0, &estimates, now).ranking(now)
}

fn decide(
    table: &PolicyTable,
    (views, ranking): (&[NodeView<'_>], &Ranking),
    path: &str,
    now: Instant,
) -> usize {
    let path = normalise(path).expect("the path is in normal form");
    let row = table.lookup(&path);
    let decision = Decision::new(row, None, RequestToken::None, &Method::GET);
    let plan = plan(&decision, true, views, ranking, now);
    plan.len() + usize::from(decision.shared_cacheable)
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn decision(bencher: Bencher<'_, '_>) {
    let (table, nodes, now) = (table(), nodes(), Instant::now());
    let views: Vec<_> = nodes
        .iter()
        .map(|status| NodeView {
            id: &status.node,
            status,
        })
        .collect();
    let ranking = ranking(&nodes, now);
    let known = (&views[..], &ranking);
    let paths: Vec<_> = (0..PATHS)
        .map(|number| format!("/area-{}/items/42", number * 617 % ROWS))
        .collect();
    let mut next = paths.iter().cycle();
    bencher.bench_local(|| {
        let path = next.next().map_or("/", String::as_str);
        decide(black_box(&table), black_box(known), black_box(path), now)
    });
}
