//! What each kind of request and the decisions take, in instructions: unlike time the same on every machine and
//! under every load.
//!
//! Counted by callgrind in the profile of the tests, so that they only show whether one grew.
//! Intended growth is recorded in the commit that explains it: `INSTRUCTIONS=record cargo nextest
//! run instructions`.

mod callgrind;
mod counted;
mod handed_on;
mod objects;
mod decisions;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use counted::{Counted, Kind};
use tidegate_model::Environment;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.txt");

/// Requests whose instructions are counted together: few enough that some rounds have none of the gateway's
/// other work, and on a busy machine some have replies that arrive alike.
const REQUESTS: u64 = 80;

const ROUNDS_MIN: usize = 5;
const ROUNDS_MAX: usize = 50;

/// How long the tables are that requests must not be slower before, in rows and in endpoints, and
/// how many hundredths more instructions they may take.
const MORE_ROWS: usize = 1_000;
const GROWTH_MAX_PERCENT: u64 = 3;

type Counts = BTreeMap<String, u64>;

#[expect(
    clippy::print_stderr,
    reason = "a test says what it counts, and what not"
)]
fn has_valgrind() -> bool {
    let asked = Command::new("valgrind").arg("--version").output();
    let is_there = asked.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: valgrind is not installed, so instructions are not counted");
    }
    is_there
}

/// Reads `name: number` lines.
fn recorded() -> Counts {
    let text = fs::read_to_string(RECORD).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let counts = lines.map(|(name, count)| (name.to_owned(), count.parse().unwrap()));
    counts.collect()
}

fn record(counts: &Counts) {
    let mut text = String::new();
    for (name, count) in counts {
        writeln!(text, "{name}: {count}").unwrap();
    }
    fs::write(RECORD, text).unwrap();
}

/// Instructions of a request of each kind; of some before few rows and endpoints and before many.
///
/// The least of several rounds, since connections that are opened to stand by, hedges and samples of the
/// monitor add to a round; the two in turn, since on a busy machine replies arrive together, which takes
/// fewer.
async fn count_requests() -> Counts {
    let mut counts = Counts::new();
    let (mut few, mut many) = (Counted::start(0).await, Counted::start(MORE_ROWS).await);
    for kind in [Kind::CachedHit, Kind::ReplicaRead] {
        few.begin(kind).await;
        many.begin(kind).await;
        let (mut before_few, mut before_many) = (u64::MAX, u64::MAX);
        for round in 1..=ROUNDS_MAX {
            before_few = before_few.min(few.round(kind).await);
            before_many = before_many.min(many.round(kind).await);
            if round >= ROUNDS_MIN && !has_grown(before_few, before_many) {
                break;
            }
        }
        few.end();
        many.end();
        let name = kind.name();
        assert!(
            !has_grown(before_few, before_many),
            "{name}: {before_many} instructions before {MORE_ROWS} more rows, {before_few} without"
        );
        counts.insert(name.to_owned(), before_few);
        let name = format!("{name}, {MORE_ROWS} rows and endpoints more");
        counts.insert(name, before_many);
    }
    for kind in [Kind::SessionRead, Kind::Write, Kind::Proxied] {
        few.begin(kind).await;
        let mut least = u64::MAX;
        for _ in 0..ROUNDS_MIN {
            least = least.min(few.round(kind).await);
        }
        few.end();
        counts.insert(kind.name().to_owned(), least);
    }
    counts
}

fn has_grown(few: u64, many: u64) -> bool {
    many * 100 > few * (100 + GROWTH_MAX_PERCENT)
}

/// In hundredths: the least of the rounds of each, with and without traces.
const UNRECORDED_MAX_PERCENT: u64 = 1;

#[tokio::test]
async fn a_cached_hit_that_is_not_recorded_takes_a_hundredth_more_instructions_at_most() {
    if !has_valgrind() {
        return;
    }
    let sampler = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let (mut off, mut on) = (Counted::start(0).await, Counted::with(0, &sampler).await);
    off.begin(Kind::CachedHit).await;
    on.begin(Kind::CachedHit).await;
    let (mut without, mut with) = (u64::MAX, u64::MAX);
    let has_grown = |without: u64, with: u64| with * 100 > without * (100 + UNRECORDED_MAX_PERCENT);
    for round in 1..=ROUNDS_MAX {
        without = without.min(off.round(Kind::CachedHit).await);
        with = with.min(on.round(Kind::CachedHit).await);
        if round >= ROUNDS_MIN && !has_grown(without, with) {
            break;
        }
    }
    eprintln!("cached hit: {without} instructions without traces, {with} if it is not recorded");
    assert!(!has_grown(without, with), "{with} after {without}");
}

#[tokio::test]
async fn no_hot_path_takes_a_tenth_more_instructions_than_recorded() {
    if has_valgrind() {
        let mut counts = count_requests().await;
        decisions::count(&mut counts);
        compare(&counts);
    }
}

#[tokio::test]
async fn no_hot_path_to_another_region_or_a_bucket_takes_a_tenth_more_than_recorded() {
    if has_valgrind() {
        let mut counts = Counts::new();
        handed_on::count(&mut counts).await;
        objects::count(&mut counts).await;
        compare(&counts);
    }
}

/// Compares with what is recorded, or records it if that is asked for.
#[expect(
    clippy::print_stderr,
    reason = "a test says what it counts, and what not"
)]
fn compare(counts: &Counts) {
    let mut recorded = recorded();
    if Environment::of_process().get("INSTRUCTIONS") == Some("record") {
        recorded.extend(counts.clone());
        return record(&recorded);
    }
    for (name, count) in counts {
        let before = recorded[name.as_str()];
        eprintln!("{name}: {count} instructions, recorded are {before}");
        assert!(*count * 10 <= before * 11, "{name} takes a tenth more");
    }
}
