//! The rankings of a selector, in the log and in metrics.

use std::sync::Arc;

use metrics::Label;
use tokio::time::Instant;

use crate::{BreakerState, Ranking, SharedSelector};
use tidegate_telemetry::names;

/// The names of a selector's candidates in the log and in metrics.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// The upstream whose nodes they are; `None` for those of the database.
    pub upstream: Option<String>,
    /// Their names, by index.
    pub nodes: Vec<String>,
}

/// Logs every ranking that differs and updates the metrics. Ends with its task;
/// [`Candidates::withdraw`] removes what it leaves in the metrics.
pub async fn announce(selector: Arc<SharedSelector>, candidates: Candidates) {
    let mut watch = selector.watch();
    let mut before = selector.ranking(Instant::now());
    candidates.begin(&before);
    while watch.changed().await.is_ok() {
        let ranking = selector.ranking(Instant::now());
        for (candidate, node) in candidates.nodes.iter().enumerate() {
            let [was, is] = [&before, &ranking].map(|ranking| ranking.of(candidate).breaker);
            if was != is {
                candidates.moved(node, was, is);
            }
        }
        candidates.compare_first(&before, &ranking);
        before = ranking;
    }
}

impl Candidates {
    /// Sets the breakers of candidates that are gone to no state.
    pub fn withdraw(&self) {
        self.nodes.iter().for_each(|node| self.measure(node, None));
    }

    /// Counters start at zero, so that a first move shows as an increase.
    fn begin(&self, ranking: &Ranking) {
        self.count_switches(0);
        for (candidate, node) in self.nodes.iter().enumerate() {
            self.measure(node, Some(ranking.of(candidate).breaker));
            for state in BreakerState::ALL {
                self.count_moves(node, state, 0);
            }
        }
    }

    fn moved(&self, node: &str, was: BreakerState, is: BreakerState) {
        self.count_moves(node, is, 1);
        self.measure(node, Some(is));
        let (upstream, was, breaker) = (self.upstream.as_deref(), was.as_str(), is.as_str());
        match is {
            BreakerState::Open => tracing::warn!(upstream, node, breaker, was, "breaker moved"),
            BreakerState::HalfOpen | BreakerState::Closed => {
                tracing::info!(upstream, node, breaker, was, "breaker moved");
            }
        }
    }

    fn compare_first(&self, before: &Ranking, after: &Ranking) {
        let first = |ranking: &Ranking| ranking.choose(|_| true).first().copied();
        let (was, is) = (first(before), first(after));
        if was != is {
            let name = |candidate: Option<usize>| candidate.map(|it| self.nodes[it].as_str());
            self.count_switches(1);
            tracing::info!(
                upstream = self.upstream.as_deref(),
                first = name(is),
                was = name(was),
                "another node is tried first"
            );
        }
    }

    fn measure(&self, node: &str, is: Option<BreakerState>) {
        let name = self.metric(names::BREAKER_STATE, names::UPSTREAM_BREAKER_STATE);
        for state in BreakerState::ALL {
            let holds = f64::from(u8::from(Some(state) == is));
            metrics::gauge!(name, self.labels(node, state)).set(holds);
        }
    }

    fn count_moves(&self, node: &str, to: BreakerState, by: u64) {
        let name = self.metric(names::BREAKER_MOVES, names::UPSTREAM_BREAKER_MOVES);
        metrics::counter!(name, self.labels(node, to)).increment(by);
    }

    fn count_switches(&self, by: u64) {
        let name = self.metric(names::STEERING_SWITCHES, names::UPSTREAM_SWITCHES);
        metrics::counter!(name, self.label()).increment(by);
    }

    /// All series of a metric have the same labels, so upstreams have separate metrics.
    fn metric(&self, of_database: &'static str, of_upstream: &'static str) -> &'static str {
        match self.upstream {
            Some(_) => of_upstream,
            None => of_database,
        }
    }

    fn label(&self) -> Vec<Label> {
        let upstream = self.upstream.iter();
        let label = |name: &String| Label::new("upstream", name.clone());
        upstream.map(label).collect()
    }

    fn labels(&self, node: &str, state: BreakerState) -> Vec<Label> {
        let mut labels = self.label();
        labels.push(Label::new("node", node.to_owned()));
        labels.push(Label::new("state", state.as_str()));
        labels
    }
}
