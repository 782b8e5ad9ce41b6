//! Which node of an upstream is asked first, who may be asked in its place, and when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::last_heard::LastHeard;
use tidegate_steering::{
    Choice, HedgeDelay, Outcome, SecondTries, Selector, SharedSelector, SteeringSettings,
};

/// What is expected of nodes before the first answer, by their place in the list: the nearest a
/// millisecond away, each further one as much more as neighbouring continents are apart.
const NEAREST: Duration = Duration::from_millis(1);
const FURTHER: Duration = Duration::from_millis(40);

/// The selector of one upstream, with the record of each node.
#[derive(Debug)]
pub(super) struct Balance {
    selector: Arc<SharedSelector>,
    records: Vec<Record>,
}

/// What is remembered of one node beside that.
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

    /// What is known of the nodes, by their place in the list.
    pub(super) fn selector(&self) -> &Arc<SharedSelector> {
        &self.selector
    }

    /// The nodes in the order in which to ask them; one that is due for a probe comes first if the
    /// caller is to be that.
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

    /// Claims the one request that finds out whether a node works again, if it is time.
    pub(super) fn claim_probe(&self, node: usize) -> bool {
        self.selector.claim_probe(node, Instant::now())
    }

    /// Takes in how a node did. The latency counts towards the order only if it compares with those
    /// of the other nodes.
    pub(super) fn report(&self, node: usize, outcome: Outcome, latency: Option<Duration>) {
        self.selector.report(node, outcome, latency, Instant::now());
    }

    /// Takes in that a request goes to a node for the first time.
    pub(super) fn sent(&self, node: usize) {
        self.records[node].second_tries.sent();
    }

    /// Takes in how long a request took.
    pub(super) fn answered(&self, node: usize, took: Duration) {
        self.heard(node);
        self.records[node].hedge_delay.add(took, Instant::now());
    }

    /// Takes in a sign of life.
    pub(super) fn heard(&self, node: usize) {
        self.records[node].last_heard.note(Instant::now());
    }

    /// Whether nothing at all has come from a node since then.
    pub(super) fn is_silent_since(&self, node: usize, then: Instant) -> bool {
        self.records[node].last_heard.is_before(then)
    }

    /// Whether a request that this node has not answered may be sent to another one.
    pub(super) fn may_ask_another(&self, node: usize) -> bool {
        self.records[node].second_tries.grant(Instant::now())
    }

    /// How long a safe request waits for a node before another is asked as well.
    pub(super) fn hedge_delay(&self, node: usize) -> Duration {
        self.records[node].hedge_delay.get()
    }
}
