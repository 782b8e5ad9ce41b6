//! Which node of an upstream is tried first, which ones may be tried in its place, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::fault::{Fault, ServerErrors};
use super::last_heard::LastHeard;
use tidegate_steering::{
    AttemptOutcome, Choice, HedgeDelay, Ranking, SecondTries, Selector, SharedSelector, Standing,
    SteeringSettings,
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
    /// Whether there are server errors in a row; most answers need no lock for that.
    in_row: AtomicBool,
    server_errors: Mutex<ServerErrors>,
}

/// The nodes for one request.
#[derive(Debug)]
pub(super) struct NodeOrder {
    /// In the order in which to try them.
    pub(super) nodes: Choice,
    /// The node that would have been first: its server errors are to be compared with another
    /// node's answer.
    pub(super) passed_over: Option<usize>,
    /// How many of them are in the first one's region.
    pub(super) near: usize,
    /// How many of them may be tried although one may have acted on the request.
    pub(super) repeats: usize,
}

impl NodeOrder {
    /// An order of nodes that are all alike.
    fn of(nodes: Choice, passed_over: Option<usize>) -> Self {
        Self {
            near: nodes.len(),
            repeats: nodes.len(),
            nodes,
            passed_over,
        }
    }
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
            in_row: AtomicBool::default(),
            server_errors: Mutex::default(),
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
    pub(super) fn order(&self, may_probe: bool, kind: impl Fn() -> u64) -> NodeOrder {
        let now = Instant::now();
        let ranking = self.selector.ranking(now);
        let due = ranking.probe_due().filter(|_| may_probe);
        if let Some(node) = due.filter(|&node| self.selector.claim_probe(node, now)) {
            let mut nodes = Choice::from_slice(&[node]);
            nodes.extend(ranking.choose(|other| other != node));
            return NodeOrder::of(nodes, None);
        }
        let mut nodes = ranking.choose(|_| true);
        let passed_over = self.pass_over(&nodes, kind, now);
        if passed_over.is_some() {
            nodes.swap(0, 1);
        }
        NodeOrder::of(nodes, passed_over)
    }

    /// The same by the traffic policy: nodes that work before those that do not, and among these by
    /// the `rank` of their regions; without a rank a node is left out. In `repeats_max` regions the
    /// request may be tried although one may have acted on it.
    pub(super) fn order_by(
        &self,
        may_probe: bool,
        rank: impl Fn(usize) -> Option<usize>,
        repeats_max: usize,
        kind: impl Fn() -> u64,
    ) -> NodeOrder {
        let now = Instant::now();
        let ranking = self.selector.ranking(now);
        let ranked = ranking.best_first().iter().filter_map(|it| {
            let works = match it.standing {
                Standing::Trusted => 0,
                Standing::OnProbation => 1,
                Standing::ProbeDue | Standing::Failed => 2,
                Standing::Drained => return None,
            };
            let rank = rank(it.candidate)?;
            Some(((works == 2, rank, works), it.candidate))
        });
        let mut ranked: SmallVec<[_; 8]> = ranked.collect();
        ranked.sort_by_key(|(key, _)| *key);
        let first_rank = ranked.iter().map(|((_, rank, _), _)| *rank).min();
        let mut nodes: Choice = ranked.iter().map(|(_, node)| *node).collect();
        let rank_of = |node: &usize| rank(*node);
        let due = ranking.probe_due().filter(|_| may_probe);
        let due = due.filter(|node| rank_of(node) == first_rank);
        let mut passed_over = None;
        if let Some(due) = due.filter(|&node| self.selector.claim_probe(node, now)) {
            nodes.retain(|node| *node != due);
            nodes.insert(0, due);
        } else if nodes.len() > 1 && rank_of(&nodes[0]) == rank_of(&nodes[1]) {
            passed_over = self.pass_over(&nodes, kind, now);
            if passed_over.is_some() {
                nodes.swap(0, 1);
            }
        }
        let first = nodes.first().and_then(rank_of);
        let near = nodes.iter().take_while(|node| rank_of(node) == first);
        let near = near.count();
        let mut regions: SmallVec<[_; 8]> = SmallVec::new();
        let repeats = nodes.iter().take_while(|node| {
            let rank = rank_of(node);
            if !regions.contains(&rank) {
                regions.push(rank);
            }
            regions.len() <= repeats_max
        });
        let repeats = repeats.count();
        NodeOrder {
            nodes,
            passed_over,
            near,
            repeats,
        }
    }

    /// Returns the first node if another one's answer is to be compared with its server errors.
    fn pass_over(&self, nodes: &Choice, kind: impl Fn() -> u64, now: Instant) -> Option<usize> {
        let first = nodes.first().copied();
        first.filter(|&node| {
            let in_row = self.records[node].in_row.load(Ordering::Relaxed);
            nodes.len() > 1 && in_row && self.server_errors(node).claim_comparison(kind(), now)
        })
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
        let record = &self.records[node];
        record.hedge_delay.add(took, Instant::now());
        if record.in_row.load(Ordering::Relaxed) {
            record.in_row.store(false, Ordering::Relaxed);
            self.server_errors(node).end_row();
        }
    }

    /// Records a server error that no other node's answer was compared with.
    pub(super) fn refused(&self, node: usize, kind: u64) {
        let counts = self.server_errors(node).add(kind, Instant::now());
        self.records[node].in_row.store(true, Ordering::Relaxed);
        if counts {
            self.report(node, AttemptOutcome::Failed, None);
        }
    }

    /// Records whose fault a node's server error is.
    pub(super) fn compared(&self, node: usize, fault: Fault) {
        let failures = self.server_errors(node).compare(fault, Instant::now());
        for _ in 0..failures {
            self.report(node, AttemptOutcome::Failed, None);
        }
        if fault == Fault::Application {
            self.report(node, AttemptOutcome::Answered, None);
        }
    }

    fn server_errors(&self, node: usize) -> MutexGuard<'_, ServerErrors> {
        // At worst, a panic while the lock is held loses a record.
        let errors = self.records[node].server_errors.lock();
        errors.unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a sign of life.
    pub(super) fn heard(&self, node: usize) {
        self.records[node].last_heard.note(Instant::now());
    }

    /// Whether nothing has been received from a node since then.
    pub(super) fn is_silent_since(&self, node: usize, then: Instant) -> bool {
        self.records[node].last_heard.is_before(then)
    }

    /// Whether a request that this node has not answered may be sent to the next one. If this node
    /// has failed since and the next one works, all requests go there, so that this adds no load.
    pub(super) fn may_go_on(&self, node: usize, next: usize) -> bool {
        let now = Instant::now();
        let ranking = self.selector.ranking(now);
        let (node_works, next_works) = (works(&ranking, node), works(&ranking, next));
        (!node_works && next_works) || self.records[node].second_tries.grant(now)
    }

    /// How long a safe request waits for a node before a hedge is sent.
    pub(super) fn hedge_delay(&self, node: usize) -> Duration {
        self.records[node].hedge_delay.get()
    }
}

fn works(ranking: &Ranking, node: usize) -> bool {
    let standing = ranking.of(node).standing;
    matches!(standing, Standing::Trusted | Standing::OnProbation)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of four nodes, of which the second and the fourth are in the preferred region.
    fn order(balance: &Balance, repeats_max: usize) -> NodeOrder {
        let rank = |node: usize| [Some(1), Some(0), None, Some(0)][node];
        balance.order_by(false, rank, repeats_max, || 0)
    }

    #[test]
    fn regions_order_nodes_and_one_that_fails_comes_after_all_that_work() {
        let balance = Balance::new(4, &SteeringSettings::default());
        let all = order(&balance, 1);
        assert_eq!(all.nodes.as_slice(), [1, 3, 0]);
        assert_eq!((all.near, all.repeats), (2, 2));
        assert_eq!(order(&balance, 2).repeats, 3);
        balance.selector().lose(1, Instant::now());
        let lost = order(&balance, 1);
        assert_eq!(lost.nodes.as_slice(), [3, 0, 1]);
        assert_eq!((lost.near, lost.repeats), (1, 1));
        balance.selector().drain(3, true, Instant::now());
        assert_eq!(order(&balance, 1).nodes.as_slice(), [0, 1]);
    }
}
