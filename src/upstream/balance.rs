//! Which node of an upstream is tried first, which ones may be tried in its place, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::fault::{Failures, Fault, Kind, ServerErrors};
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
    /// When it last answered without a server error, while there were some in a row.
    last_well: LastHeard,
    /// Whether there are server errors in a row, of any kind; most answers need no lock for that.
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
            last_well: LastHeard::new(now),
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
    /// caller's request is the probe, which none is of a kind that the node fails.
    pub(super) fn order(&self, may_probe: bool, kind: impl Fn() -> Kind) -> NodeOrder {
        let now = Instant::now();
        let ranking = self.selector.ranking(now);
        let due = self.due(&ranking, |_| may_probe, &kind, now);
        if let Some(node) = due.filter(|&node| self.selector.claim_probe(node, now)) {
            let mut nodes = Choice::from_slice(&[node]);
            nodes.extend(ranking.choose(|other| other != node));
            return NodeOrder::of(nodes, None);
        }
        let mut nodes = ranking.choose(|_| true);
        let alike = nodes.len();
        let passed_over = self.pass_over(&mut nodes, alike, &ranking, kind, now);
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
        kind: impl Fn() -> Kind,
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
        // Without a rank there is none to compare: such a node is left out.
        let is_first = |node: usize| may_probe && rank(node).is_some() && rank(node) == first_rank;
        let due = self.due(&ranking, is_first, &kind, now);
        let mut passed_over = None;
        if let Some(due) = due.filter(|&node| self.selector.claim_probe(node, now)) {
            nodes.retain(|node| *node != due);
            nodes.insert(0, due);
        } else {
            let first = nodes.first().and_then(rank_of);
            let alike = nodes.iter().take_while(|node| rank_of(node) == first);
            let alike = alike.count();
            passed_over = self.pass_over(&mut nodes, alike, &ranking, kind, now);
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

    /// Returns the best of the eligible nodes that are due for a probe, of those that do not fail such requests.
    fn due(
        &self,
        ranking: &Ranking,
        eligible: impl Fn(usize) -> bool,
        kind: impl Fn() -> Kind,
        now: Instant,
    ) -> Option<usize> {
        let mut due = ranking.probes_due();
        due.find(|&node| eligible(node) && !self.is_left(node, &kind, now))
    }

    /// Makes a request the probe of the node that it is sent to, if that one is due: otherwise the node would stay
    /// due whatever becomes of the request. None is the probe that is of a kind that the node fails.
    pub(super) fn probe_by(&self, node: usize, kind: impl Fn() -> Kind) {
        let now = Instant::now();
        if !self.is_left(node, kind, now) {
            let _is_probe = self.selector.claim_probe(node, now);
        }
    }

    /// Puts another of the first `alike` nodes before the first one if that one fails such requests.
    /// Returns the first one if the other's answer is to be compared with its server errors.
    fn pass_over(
        &self,
        nodes: &mut Choice,
        alike: usize,
        ranking: &Ranking,
        kind: impl Fn() -> Kind,
        now: Instant,
    ) -> Option<usize> {
        let first = nodes.first().copied()?;
        if alike < 2 || !self.records[first].in_row.load(Ordering::Relaxed) {
            return None;
        }
        let kind = kind();
        if self.server_errors(first).is_left(kind, now) {
            let other = (1..alike).find(|&index| {
                let node = nodes[index];
                works(ranking, node) && !self.server_errors(node).is_left(kind, now)
            });
            if let Some(index) = other {
                nodes[..=index].rotate_right(1);
            }
            return None;
        }
        let compares = self.server_errors(first).claim_comparison(kind, now);
        compares.then(|| {
            nodes.swap(0, 1);
            first
        })
    }

    /// Whether requests of a kind go to other nodes because this one fails them.
    fn is_left(&self, node: usize, kind: impl Fn() -> Kind, now: Instant) -> bool {
        let in_row = self.records[node].in_row.load(Ordering::Relaxed);
        in_row && self.server_errors(node).is_left(kind(), now)
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

    /// Records an answer and how long it took; `comparable` as in [`report`](Self::report).
    pub(super) fn answered(&self, node: usize, took: Duration, comparable: Option<Duration>) {
        let (now, record) = (Instant::now(), &self.records[node]);
        self.selector
            .report(node, AttemptOutcome::Answered, comparable, now);
        record.last_heard.note(now);
        record.hedge_delay.add(took, now);
    }

    /// Records that a request of a kind was answered without a server error.
    pub(super) fn end_row(&self, node: usize, kind: impl FnOnce() -> Kind) {
        let record = &self.records[node];
        if record.in_row.load(Ordering::Relaxed) {
            record.last_well.note(Instant::now());
            let kind = kind();
            self.note_errors(node, |errors| errors.end_row(kind));
        }
    }

    /// Records a server error that no other node's answer was compared with.
    pub(super) fn refused(&self, node: usize, kind: Kind) {
        let now = Instant::now();
        let failures = self.note_errors(node, |errors| errors.add(kind, now));
        self.count(node, failures, now);
    }

    /// Records whose fault a node's server error is.
    pub(super) fn compared(&self, node: usize, kind: Kind, fault: Fault) {
        let now = Instant::now();
        let failures = self.note_errors(node, |errors| errors.compare(kind, fault, now));
        self.count(node, failures, now);
        if fault == Fault::Application {
            self.report(node, AttemptOutcome::Answered, None);
        }
    }

    /// Reports server errors to the node's breaker, which decides on all kinds of requests. While it is open, this
    /// request may be its probe: no other request can probe the node until this one is reported.
    fn count(&self, node: usize, failures: Failures, now: Instant) {
        let last_well = &self.records[node].last_well;
        let since = failures.unless_well_since;
        let is_open = || {
            let standing = self.selector.ranking(now).of(node).standing;
            matches!(standing, Standing::ProbeDue | Standing::Failed)
        };
        if since.is_none_or(|since| last_well.is_before(since)) || is_open() {
            for _ in 0..failures.count {
                self.report(node, AttemptOutcome::Failed, None);
            }
        }
    }

    /// Changes the record of a node's server errors, and whether there are any in a row.
    fn note_errors<T>(&self, node: usize, change: impl FnOnce(&mut ServerErrors) -> T) -> T {
        let mut errors = self.server_errors(node);
        let outcome = change(&mut errors);
        let in_row = &self.records[node].in_row;
        in_row.store(!errors.are_over(), Ordering::Relaxed);
        outcome
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

    const KIND: Kind = Kind { group: 7, exact: 1 };
    const OTHER: Kind = Kind { group: 8, exact: 2 };

    fn first_two(balance: &Balance, kind: Kind) -> ([usize; 2], Option<usize>) {
        let order = balance.order(false, || kind);
        ([order.nodes[0], order.nodes[1]], order.passed_over)
    }

    #[test]
    fn a_node_that_fails_one_kind_of_requests_is_left_by_it_whatever_else_it_answers() {
        let balance = Balance::new(2, &SteeringSettings::default());
        for _ in 0..5 {
            assert_eq!(first_two(&balance, KIND), ([0, 1], None));
            balance.refused(0, KIND);
            balance.end_row(0, || OTHER);
            balance.compared(0, OTHER, Fault::Application);
        }
        assert_eq!(first_two(&balance, OTHER), ([0, 1], None));
        assert_eq!(first_two(&balance, KIND), ([1, 0], Some(0)));
        // One comparison at a time is made.
        assert_eq!(first_two(&balance, KIND), ([0, 1], None));
        for _ in 0..5 {
            balance.note_errors(0, |errors| {
                errors.compare(KIND, Fault::Node, Instant::now())
            });
        }
        assert_eq!(first_two(&balance, KIND), ([1, 0], None));
        assert_eq!(first_two(&balance, OTHER), ([0, 1], None));
        balance.end_row(0, || KIND);
        assert_eq!(first_two(&balance, KIND), ([0, 1], None));
    }

    /// Fails five requests of a kind in a row, and finds out that another node does not.
    async fn fail_in_a_row(balance: &Balance, after_each: impl Fn()) {
        tokio::time::advance(Duration::from_millis(1)).await;
        for _ in 0..5 {
            balance.refused(0, KIND);
            tokio::time::advance(Duration::from_millis(1)).await;
            after_each();
        }
        balance.compared(0, KIND, Fault::Node);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_kind_move_no_other_that_is_answered_well_meanwhile() {
        let balance = Balance::new(2, &SteeringSettings::default());
        fail_in_a_row(&balance, || balance.end_row(0, || OTHER)).await;
        assert_eq!(first_two(&balance, KIND), ([1, 0], None));
        assert_eq!(first_two(&balance, OTHER), ([0, 1], None));
        // Nor does the request that finds out whether it still fails them.
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(first_two(&balance, KIND), ([0, 1], None));
        for _ in 0..5 {
            balance.refused(0, KIND);
        }
        assert_eq!(first_two(&balance, OTHER), ([0, 1], None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_of_which_nothing_good_is_known_is_probed_by_no_request_of_a_kind_that_it_fails()
    {
        let balance = Balance::new(2, &SteeringSettings::default());
        fail_in_a_row(&balance, || ()).await;
        let first = |kind| balance.order(true, || kind).nodes[0];
        assert_eq!([first(KIND), first(OTHER)], [1, 1]);
        // The first pause of a breaker is over.
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!([first(KIND), first(OTHER)], [1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_of_a_kind_that_the_node_fails_makes_room_for_one_of_another_kind() {
        let balance = Balance::new(2, &SteeringSettings::default());
        fail_in_a_row(&balance, || balance.end_row(0, || OTHER)).await;
        for _ in 0..5 {
            balance.report(0, AttemptOutcome::Failed, None);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(balance.order(true, || KIND).nodes[0], 0);
        balance.refused(0, KIND);
        assert_eq!(balance.order(true, || OTHER).nodes[0], 1);
        // The second pause of a breaker is over.
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(balance.order(true, || OTHER).nodes[0], 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_goes_on_to_a_node_that_is_due_is_its_probe() {
        let balance = Balance::new(2, &SteeringSettings::default());
        for node in [0, 1] {
            balance.selector().lose(node, Instant::now());
        }
        // The first pause of a breaker is over.
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = || {
            let ranking = balance.selector().ranking(Instant::now());
            ranking.of(1).standing
        };
        let order = balance.order_by(true, Some, 2, || KIND);
        assert_eq!(order.nodes.as_slice(), [0, 1]);
        assert_eq!(second(), Standing::ProbeDue);
        balance.probe_by(1, || KIND);
        balance.report(1, AttemptOutcome::Failed, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(second(), Standing::Failed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_of_another_region_that_is_due_does_not_keep_one_of_the_first_from_its_probe() {
        let balance = Balance::new(3, &SteeringSettings::default());
        for node in [0, 1] {
            balance.selector().lose(node, Instant::now());
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        let rank = |node: usize| [Some(1), Some(0), Some(2)][node];
        let order = balance.order_by(true, rank, 3, || KIND);
        assert_eq!(order.nodes.as_slice(), [1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_the_policy_leaves_out_is_not_probed_either() {
        let balance = Balance::new(2, &SteeringSettings::default());
        balance.selector().lose(0, Instant::now());
        balance.selector().drain(1, true, Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        let rank = |node: usize| [None, Some(0)][node];
        assert!(balance.order_by(true, rank, 1, || KIND).nodes.is_empty());
    }

    #[test]
    fn a_node_is_not_left_for_one_that_fails_such_requests_too() {
        let balance = Balance::new(3, &SteeringSettings::default());
        for node in [0, 1] {
            for _ in 0..5 {
                balance.note_errors(node, |errors| {
                    errors.compare(KIND, Fault::Node, Instant::now())
                });
            }
        }
        assert_eq!(balance.order(false, || KIND).nodes.as_slice(), [2, 0, 1]);
        balance.selector().lose(2, Instant::now());
        assert_eq!(balance.order(false, || KIND).nodes.as_slice(), [0, 1]);
    }

    /// The order of four nodes, of which the second and the fourth are in the preferred region.
    fn order(balance: &Balance, repeats_max: usize) -> NodeOrder {
        let rank = |node: usize| [Some(1), Some(0), None, Some(0)][node];
        balance.order_by(false, rank, repeats_max, || KIND)
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
