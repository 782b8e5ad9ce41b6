//! Rounds of work with a fault in the middle of each, and the required results.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use reqwest::Client;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::arena::Arena;
use super::client::{Round, work};
use super::edge::Edge;
use super::fault::{Fault, Placed};
use super::history::{History, Promotion};
use super::registers::Statements;
use super::report::Report;

const CLIENTS: usize = 10;
/// How long clients work before, under and after a fault.
const BEFORE_MS: std::ops::Range<u64> = 100..500;
const UNDER_MS: std::ops::Range<u64> = 700..1_900;
const AFTER_MS: std::ops::Range<u64> = 100..500;

/// An arena and the clients in it.
pub(super) struct Run {
    arena: Arena,
    rng: Rng,
    http: Client,
    start: Instant,
    values: Arc<AtomicU64>,
    edge: Edge,
    rounds: usize,
    pub(super) report: Report,
}

impl Run {
    pub(super) async fn start(statements: Statements, edge: Edge, seed: u64) -> Self {
        let arena = Arena::start(statements).await;
        let report = Report::of(seed, arena.clocks_missing());
        Self {
            arena,
            rng: Rng::with_seed(seed),
            http: crate::world::client(),
            start: Instant::now(),
            values: Arc::new(AtomicU64::new(1)),
            edge,
            rounds: 0,
            report,
        }
    }

    /// One round on its own registers: a fault begins and ends while the clients work.
    pub(super) async fn round(&mut self, fault: Option<Fault>) {
        self.rounds += 1;
        let round = Arc::new(Round {
            number: self.rounds,
            addresses: self.arena.addresses.clone(),
            http: self.http.clone(),
            start: self.start,
            over: AtomicBool::new(false),
            values: self.values.clone(),
            writes: RwLock::new(()),
            board: Mutex::new(None),
            edge: self.edge,
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(work(round.clone(), client, self.rng.fork()));
        }
        let promotion = self.disturb(fault, &round).await;
        round.over.store(true, Ordering::Relaxed);
        let history = History {
            operations: clients.join_all().await.concat(),
            ledger: self.arena.ledger(self.rounds).await,
            promotion,
        };
        self.report.add(fault, &history);
        self.report.took = self.start.elapsed();
    }

    /// The durations here are the experiment itself: the only wait is for the end of a fault.
    async fn disturb(&mut self, fault: Option<Fault>, round: &Round) -> Option<Promotion> {
        let placed = fault.map(|fault| Placed::somewhere(fault, &mut self.rng));
        self.pass(BEFORE_MS).await;
        let mut promotion = None;
        if let Some(placed) = placed {
            promotion = placed.begin(&mut self.arena, round).await;
        }
        self.pass(UNDER_MS).await;
        if let Some(placed) = placed {
            placed.end(&mut self.arena).await;
            self.arena.wait_until_healthy().await;
        }
        self.pass(AFTER_MS).await;
        promotion
    }

    async fn pass(&mut self, range: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.rng.u64(range))).await;
    }

    /// Every fault once, in an order determined by the seed.
    async fn every_fault(&mut self) {
        let mut faults = Fault::ALL;
        self.rng.shuffle(&mut faults);
        let can =
            |fault: &Fault| *fault != Fault::ClockJumped || self.arena.clocks_missing().is_none();
        let faults: Vec<_> = faults.into_iter().filter(can).collect();
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

/// `make check-consistency`: the same for a chosen time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it runs for a configured time"]
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
