//! What a selector has come to, in the log and in metrics.

use std::sync::Arc;

use tokio::time::Instant;

use crate::steering::{BreakerState, Ranking, SharedSelector};
use crate::telemetry::names;

/// Logs and measures every ranking that differs; `names` are the candidates'. Ends with its task.
pub async fn announce(selector: Arc<SharedSelector>, names: Vec<String>) {
    let mut watch = selector.watch();
    let mut before = selector.ranking(Instant::now());
    begin(&names, &before);
    while watch.changed().await.is_ok() {
        let ranking = selector.ranking(Instant::now());
        for (candidate, name) in names.iter().enumerate() {
            let [was, is] = [&before, &ranking].map(|ranking| ranking.of(candidate).breaker);
            if was != is {
                moved(name, was, is);
            }
        }
        compare_first(&before, &ranking, &names);
        before = ranking;
    }
}

/// Counters begin at zero, so that a first move shows as an increase.
fn begin(names: &[String], ranking: &Ranking) {
    metrics::counter!(names::STEERING_SWITCHES).increment(0);
    for (candidate, name) in names.iter().enumerate() {
        measure(name, ranking.of(candidate).breaker);
        for state in BreakerState::ALL {
            let (node, state) = (name.clone(), state.as_str());
            metrics::counter!(names::BREAKER_MOVES, "node" => node, "state" => state).increment(0);
        }
    }
}

fn moved(node: &str, was: BreakerState, is: BreakerState) {
    let (was, state) = (was.as_str(), is.as_str());
    metrics::counter!(names::BREAKER_MOVES, "node" => node.to_owned(), "state" => state)
        .increment(1);
    measure(node, is);
    match is {
        BreakerState::Open => tracing::warn!(node, breaker = state, was, "breaker moved"),
        BreakerState::HalfOpen | BreakerState::Closed => {
            tracing::info!(node, breaker = state, was, "breaker moved");
        }
    }
}

fn measure(node: &str, is: BreakerState) {
    for state in BreakerState::ALL {
        let holds = f64::from(u8::from(state == is));
        let (node, state) = (node.to_owned(), state.as_str());
        metrics::gauge!(names::BREAKER_STATE, "node" => node, "state" => state).set(holds);
    }
}

fn compare_first(before: &Ranking, after: &Ranking, names: &[String]) {
    let first = |ranking: &Ranking| ranking.choose(|_| true).first().copied();
    let (was, is) = (first(before), first(after));
    if was != is {
        let name = |candidate: Option<usize>| candidate.map(|it| names[it].as_str());
        metrics::counter!(names::STEERING_SWITCHES).increment(1);
        tracing::info!(
            first = name(is),
            was = name(was),
            "another node is asked first"
        );
    }
}
