//! Which node of an upstream is tried first, which ones may be tried in its place, and when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::last_heard::LastHeard;
use tidegate_steering::{
    AttemptOutcome, Choice, HedgeDelay, SecondTries, Selector, SharedSelector, SteeringSettings,
};

/// The expected latencies of nodes before the first answer, by their index: a millisecond for the
/// nearest, and the distance between neighbouring continents more for each further one.
const NEAREST: Duration = Duration::from_millis(1);
const FURTHER: Duration = Duration::from_millis(40);

/// The selector of one upstream, with the record of each node.
#[derive(Debug)]
pub(super) struct Balance {
    selector: Arc<SharedSelector>,
    records: Vec<Record>,
}

/// Further records of one node.
#[derive(Debug)]
struct Record {
    second_tries: SecondTries,
    hedge_delay: HedgeDelay,
    last_heard: LastHeard,
}

impl Balance {
    /// Starts with nodes in the order of their distance.
    pub(super) fn new(nodes: u32, settings: &SteeringSettings) -> Self {
        let now = Instant::now();
        let estimates: Vec<_> = (0..nodes).map(|index| NEAREST + FURTHER * index).collect();
        let record = |_| Record {
            second_tries: SecondTries::new(settings.retry_budget, now),
            hedge_delay: HedgeDelay::new(now),
            last_heard: LastHeard::new(now),
        };
        let selector = Selector::new(settings.clone(), fastrand::u64(..), &estimates, now);
        let selector = SharedSelector::new(selector, now);
        Self {
            selector: Arc::new(selector),
            records: (0..nodes).map(record).collect(),
        }
    }

    /// What is known about the nodes, by their index.
    pub(super) fn selector(&self) -> &Arc<SharedSelector> {
        &self.selector
    }

    /// The nodes in the order in which to try them; one that is due for a probe comes first if the
    /// caller's request is the probe.
    pub(super) fn order(&self, may_probe: bool) -> Choice {
        let now = Instant::now();
        let ranking = self.selector.ranking(now);
        let due = ranking.probe_due().filter(|_| may_probe);
        match due.filter(|&node| self.selector.claim_probe(node, now)) {
            Some(node) => {
                let mut order = Choice::from_slice(&[node]);
                order.extend(ranking.choose(|other| other != node));
                order
            }
            None => ranking.choose(|_| true),
        }
    }

    /// Claims the one request that probes whether a node works again, if one is due.
    pub(super) fn claim_probe(&self, node: usize) -> bool {
        self.selector.claim_probe(node, Instant::now())
    }

    /// Records a node's outcome. The latency counts towards the order only if it can be compared
    /// with those of the other nodes.
    pub(super) fn report(&self, node: usize, outcome: AttemptOutcome, latency: Option<Duration>) {
        self.selector.report(node, outcome, latency, Instant::now());
    }

    /// Records that a request is sent to a node for the first time.
    pub(super) fn sent(&self, node: usize) {
        self.records[node].second_tries.sent();
    }

    /// Records how long a request took.
    pub(super) fn answered(&self, node: usize, took: Duration) {
        self.heard(node);
        self.records[node].hedge_delay.add(took, Instant::now());
    }

    /// Records a sign of life.
    pub(super) fn heard(&self, node: usize) {
        self.records[node].last_heard.note(Instant::now());
    }

    /// Whether nothing has been received from a node since then.
    pub(super) fn is_silent_since(&self, node: usize, then: Instant) -> bool {
        self.records[node].last_heard.is_before(then)
    }

    /// Whether a request that this node has not answered may be sent to another one.
    pub(super) fn may_ask_another(&self, node: usize) -> bool {
        self.records[node].second_tries.grant(Instant::now())
    }

    /// How long a safe request waits for a node before a hedge is sent.
    pub(super) fn hedge_delay(&self, node: usize) -> Duration {
        self.records[node].hedge_delay.get()
    }
}
