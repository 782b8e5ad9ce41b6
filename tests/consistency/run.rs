//! Rounds of work with a fault in the middle of each, and what must come out of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::arena::Arena;
use super::client::{Edge, Round, work};
use super::fault::{Fault, Placed};
use super::judge::Guarantee;
use super::registers::Statements;
use super::report::Report;

const CLIENTS: usize = 10;
/// How long clients work before, under and after a fault.
const BEFORE_MS: std::ops::Range<u64> = 100..500;
const UNDER_MS: std::ops::Range<u64> = 700..1_900;
const AFTER_MS: std::ops::Range<u64> = 100..500;

/// An arena and the clients in it.
struct Run {
    arena: Arena,
    rng: Rng,
    http: Client,
    start: Instant,
    values: Arc<AtomicU64>,
    edge: Edge,
    rounds: usize,
    report: Report,
}

impl Run {
    async fn start(statements: Statements, edge: Edge, seed: u64) -> Self {
        Self {
            arena: Arena::start(statements).await,
            rng: Rng::with_seed(seed),
            http: crate::world::client(),
            start: Instant::now(),
            values: Arc::new(AtomicU64::new(1)),
            edge,
            rounds: 0,
            report: Report::of(seed),
        }
    }

    /// One round on registers of its own: a fault comes and goes while the clients work.
    async fn round(&mut self, fault: Option<Fault>) {
        self.rounds += 1;
        let round = Arc::new(Round {
            number: self.rounds,
            addresses: self.arena.addresses.clone(),
            http: self.http.clone(),
            start: self.start,
            over: AtomicBool::new(false),
            values: self.values.clone(),
            board: Mutex::new(None),
            edge: self.edge,
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(work(round.clone(), client, self.rng.fork()));
        }
        self.disturb(fault).await;
        round.over.store(true, Ordering::Relaxed);
        let history = clients.join_all().await.concat();
        self.report.add(fault, &history);
        self.report.took = self.start.elapsed();
    }

    /// The durations here are the experiment itself: nothing is waited for but the end of a fault.
    async fn disturb(&mut self, fault: Option<Fault>) {
        let placed = fault.map(|fault| Placed::somewhere(fault, &mut self.rng));
        self.pass(BEFORE_MS).await;
        if let Some(placed) = placed {
            placed.begin(&mut self.arena).await;
        }
        self.pass(UNDER_MS).await;
        if let Some(placed) = placed {
            placed.end(&mut self.arena).await;
            self.arena.wait_until_healthy().await;
        }
        self.pass(AFTER_MS).await;
    }

    async fn pass(&mut self, range: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.rng.u64(range))).await;
    }

    /// Every fault once, in an order of the seed's.
    async fn every_fault(&mut self) {
        let mut faults = Fault::ALL;
        self.rng.shuffle(&mut faults);
        for fault in faults {
            self.round(Some(fault)).await;
        }
    }
}

async fn honest(seed: u64) -> Run {
    Run::start(Statements::Honest, Edge::Transparent, seed).await
}

fn assert_nothing_is_broken(report: &Report) {
    assert_eq!(report.broken(), [], "{report}");
    for level in ["eventual", "bounded", "session"] {
        let count = report.by_replicas(level);
        assert!(count > 0, "replicas served no {level} read: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_promise_is_broken_under_any_fault() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut run = honest(seed).await;
    run.every_fault().await;
    println!("{}", run.report);
    assert_nothing_is_broken(&run.report);
}

/// `make check-consistency`: the same for as long as one likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it runs for as long as it is told"]
async fn no_promise_is_broken_for_a_long_time() {
    let seconds = setting("CHECK_SECONDS").unwrap_or(60);
    let seed = setting("CHECK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut run = honest(seed).await;
    while run.start.elapsed() < Duration::from_secs(seconds) && run.report.broken().is_empty() {
        run.every_fault().await;
        println!("{}", run.report);
    }
    assert_nothing_is_broken(&run.report);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of this test and not of the gateway"
)]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a world with something broken in it, and asserts that at least these promises are seen to
/// be broken.
async fn assert_caught(statements: Statements, edge: Edge, expected: &[Guarantee]) {
    let mut run = Run::start(statements, edge, 1).await;
    let missed = |run: &Run| {
        let broken = run.report.broken();
        expected.iter().any(|it| !broken.contains(it))
    };
    for _ in 0..5 {
        run.round(Some(Fault::ReplayPaused)).await;
        if !missed(&run) {
            return;
        }
    }
    panic!("expected {expected:?}: {}", run.report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_behind_and_does_not_know_it_is_caught() {
    let expected = [
        Guarantee::Linearizable,
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::WithinBound,
        Guarantee::HonestStaleness,
    ];
    assert_caught(Statements::Behind, Edge::Transparent, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_loses_the_level_is_caught() {
    let expected = [
        Guarantee::Linearizable,
        Guarantee::LevelKept,
        Guarantee::WithinBound,
    ];
    assert_caught(Statements::Honest, Edge::DropsLevels, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_loses_the_token_is_caught() {
    let expected = [Guarantee::ReadYourWrites, Guarantee::MonotonicReads];
    assert_caught(Statements::Honest, Edge::DropsTokens, &expected).await;
}
