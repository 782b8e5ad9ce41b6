//! What a cached hit, a replica read and the decisions take, in instructions: unlike time the same on
//! every machine and under every load.
//!
//! Counted by callgrind in the profile of the tests, so that they only show whether one grew.
//! Intended growth is recorded in the commit that explains it: `INSTRUCTIONS=record cargo nextest
//! run instructions`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidegate::testkit::{Cluster, GatewayCommand};
use tidegate_model::Environment;
use tidegate_model::normalise;
use tidegate_model::{Consistency, RequestToken};
use tidegate_policy::PolicyRow;
use tidegate_policy::{Decision, PolicyTable};
use tidegate_traffic::decide::{Request, decide};
use tidegate_traffic::facts::Facts;
use tidegate_traffic::plan::{Plan, Tier};

use crate::world::{BINARY, TOKEN_SECRET, World, configured};

#[path = "../bench/policies.rs"]
mod policies;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.txt");

/// Requests whose instructions are counted together: few enough that some rounds have none of the gateway's
/// other work, and on a busy machine some have replies that arrive alike.
const REQUESTS: u64 = 80;
const DECISIONS: u64 = 1_000;
const ROUNDS_MIN: usize = 5;
const ROUNDS_MAX: usize = 50;

/// How long the tables are that requests must not be slower before, in rows and in endpoints, and
/// how many hundredths more instructions they may take.
const MORE_ROWS: usize = 1_000;
const GROWTH_MAX_PERCENT: u64 = 3;

/// The monitor samples rarely, so that it hardly counts.
const ENDPOINTS: &str = r#"
[replication]
sample_interval = "2s"
[[policy]]
path = "/kept"
consistency = "eventual"
cache_control = "public, max-age=3600"
[[policy]]
path = "/read/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/kept"
sql = "select repeat('x', 1000) as filler"
[[endpoint]]
method = "GET"
path = "/read/{id}"
sql = "select :path.id as id"
single = true
"#;

type Counts = BTreeMap<String, u64>;

fn has_valgrind() -> bool {
    let asked = Command::new("valgrind").arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
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

/// The sum of one dump of callgrind.
fn total(dump: &Path) -> u64 {
    let text = fs::read_to_string(dump).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.expect("callgrind reports a total").parse().unwrap()
}

fn control(argument: &[&str], pid: u32) {
    let mut control = Command::new("callgrind_control");
    // It looks for the process where that, which has no environment, has put its pipes.
    control.env_remove("TMPDIR");
    let output = control.args(argument).arg(pid.to_string()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The endpoints that are used, before others that are not.
fn endpoints(more: usize) -> String {
    let row = |number| {
        format!(
            "[[policy]]\npath = \"/more/{number}/*\"\nconsistency = \"eventual\"\n\
             [[endpoint]]\nmethod = \"GET\"\npath = \"/more/{number}/{{id}}\"\n\
             sql = \"select {number} as one, :path.id as id\"\n"
        )
    };
    let more: String = (0..more).map(row).collect();
    format!("{ENDPOINTS}{more}")
}

/// A gateway that callgrind runs.
struct Counted {
    world: World,
    pid: u32,
    /// Where callgrind writes, with the number of the dump as extension.
    dumps: PathBuf,
    written: u32,
    _place: TempDir,
}

impl Counted {
    /// Counts nothing yet.
    async fn start(more: usize) -> Self {
        Self::with(more, &[]).await
    }

    /// The same with more variables.
    async fn with(more: usize, variables: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let dumps = place.path().join("counts");
        let cluster = Cluster::start(1).await.unwrap();
        let script = cluster.workspace().path().join("counted");
        let valgrind = format!(
            "#!/bin/sh\nexec valgrind -q --tool=callgrind --instr-atstart=no \
             --callgrind-out-file={} {BINARY} \"$@\"\n",
            dumps.display()
        );
        fs::write(&script, valgrind).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let gateway = GatewayCommand::new(script, "serve")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", cluster.primary.url())
            .env("DATABASE_READ_REPLICA_URL", cluster.replicas[0].url())
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("RUST_LOG", "info,tidegate::access=warn");
        let variables = variables.iter();
        let gateway = variables.fold(gateway, |all, (name, value)| all.env(name, *value));
        let gateway = configured(&cluster, gateway, &endpoints(more));
        let world = World::over(cluster, gateway).await;
        // The proofs of what statements leave in a session are complete.
        let judged = "exists (select from pg_stat_activity where state = 'idle' \
             and application_name like 'tidegate%' and query like '%with recursive%')";
        world.cluster.replicas[0].wait_until(judged).await.unwrap();
        Self {
            pid: world.gateway.pid().unwrap(),
            world,
            dumps,
            written: 0,
            _place: place,
        }
    }

    /// Counts from now on, and waits until the state is stable.
    async fn begin(&self, path: &str) {
        ask(&self.world, path, 50).await;
        control(&["-i", "on"], self.pid);
        ask(&self.world, path, 20).await;
    }

    /// Returns the instructions of one request out of many that are sent one after another.
    async fn round(&mut self, path: &str) -> u64 {
        control(&["-z"], self.pid);
        ask(&self.world, path, REQUESTS).await;
        control(&["-d"], self.pid);
        self.written += 1;
        total(&self.dumps.with_extension(self.written.to_string())) / REQUESTS
    }

    fn end(&self) {
        control(&["-i", "off"], self.pid);
    }
}

/// Instructions of a request to each path, before few rows and endpoints and before many.
///
/// The least of several rounds, since connections that are opened to stand by, hedges and samples of the
/// monitor add to a round; the two in turn, since on a busy machine replies arrive together, which takes
/// fewer.
async fn count_requests() -> Counts {
    let mut counts = Counts::new();
    let (mut few, mut many) = (Counted::start(0).await, Counted::start(MORE_ROWS).await);
    for (name, path) in [("cached hit", "/kept"), ("replica read", "/read/7")] {
        few.begin(path).await;
        many.begin(path).await;
        let (mut before_few, mut before_many) = (u64::MAX, u64::MAX);
        for round in 1..=ROUNDS_MAX {
            before_few = before_few.min(few.round(path).await);
            before_many = before_many.min(many.round(path).await);
            if round >= ROUNDS_MIN && !has_grown(before_few, before_many) {
                break;
            }
        }
        few.end();
        many.end();
        assert!(
            !has_grown(before_few, before_many),
            "{name}: {before_many} instructions before {MORE_ROWS} more rows, {before_few} without"
        );
        counts.insert(name.to_owned(), before_few);
        let name = format!("{name}, {MORE_ROWS} rows and endpoints more");
        counts.insert(name, before_many);
    }
    counts
}

fn has_grown(few: u64, many: u64) -> bool {
    many * 100 > few * (100 + GROWTH_MAX_PERCENT)
}

async fn ask(world: &World, path: &str, times: u64) {
    for _ in 0..times {
        let response = world.get(path).await;
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
    }
}

/// Instructions of one decision of each kind, counted in processes of their own.
fn count_decisions(counts: &mut Counts) {
    for (name, test) in [
        ("decision", "decisions"),
        ("region, nearest", "regions_nearest"),
        ("region, spread", "regions_spread"),
        ("region, 64 headers", "regions_by_header"),
    ] {
        counts.insert(name.to_owned(), count_test(test) / DECISIONS);
    }
}

/// Instructions of the functions that are called `…_counted` in a test of this file.
fn count_test(test: &str) -> u64 {
    let place = tempfile::tempdir().unwrap();
    let dump = place.path().join("counts");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["-q", "--tool=callgrind", "--toggle-collect=*_counted*"])
        .arg(format!("--callgrind-out-file={}", dump.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("instructions::{test}"), "--ignored"]);
    let output = valgrind.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    total(&dump)
}

#[test]
#[ignore = "run under callgrind by the test below"]
fn decisions() {
    let row = |number| PolicyRow {
        path: format!("/area-{number}/*"),
        consistency: Consistency::EVENTUAL,
        cache_control: Some("public, max-age=300".to_owned()),
        session_cookie: false,
        rate_limit: None,
        cors: None,
        place: tidegate_model::Place::Name("test"),
    };
    let rows: Vec<_> = (0..1_000).map(row).collect();
    let table = PolicyTable::build(&rows).unwrap();
    for _ in 0..DECISIONS {
        decide_counted(black_box(&table), black_box("/area-617/items/42"));
    }
}

#[inline(never)]
fn decide_counted(table: &PolicyTable, path: &str) -> bool {
    let path = normalise(path).unwrap();
    let row = table.lookup(&path);
    let decision = Decision::new(row, None, RequestToken::None, &http::Method::GET);
    black_box(&decision).shared_cacheable
}

#[test]
#[ignore = "run under callgrind by the test below"]
fn regions_nearest() {
    decide_regions(&policies::plan(
        &Tier::Nearest(policies::all_regions()),
        policies::path,
    ));
}

#[test]
#[ignore = "run under callgrind by the test below"]
fn regions_spread() {
    decide_regions(&policies::plan(
        &Tier::Spread(policies::all_regions()),
        policies::path,
    ));
}

#[test]
#[ignore = "run under callgrind by the test below"]
fn regions_by_header() {
    decide_regions(&policies::plan(
        &Tier::Nearest(policies::all_regions()),
        policies::header,
    ));
}

fn decide_regions(plan: &Plan) {
    let facts = Facts::new(plan, policies::all_well());
    let clients = policies::clients();
    let requests: Vec<_> = clients.iter().map(policies::request).collect();
    for request in requests.iter().cycle().take(DECISIONS as usize) {
        let policy = region_counted(black_box(plan), black_box(&facts), black_box(request));
        assert_eq!(policy, policies::POLICIES - 1);
    }
}

#[inline(never)]
fn region_counted(plan: &Plan, facts: &Facts, request: &Request<'_>) -> usize {
    black_box(decide(plan, facts, request)).policy
}

/// In hundredths: the least of the rounds of each, with and without traces.
const UNRECORDED_MAX_PERCENT: u64 = 1;

#[tokio::test]
async fn a_cached_hit_that_is_not_recorded_takes_a_hundredth_more_instructions_at_most() {
    if !has_valgrind() {
        eprintln!("SKIPPED: valgrind is not installed, so instructions are not counted");
        return;
    }
    let sampler = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let (mut off, mut on) = (Counted::start(0).await, Counted::with(0, &sampler).await);
    off.begin("/kept").await;
    on.begin("/kept").await;
    let (mut without, mut with) = (u64::MAX, u64::MAX);
    let has_grown = |without: u64, with: u64| with * 100 > without * (100 + UNRECORDED_MAX_PERCENT);
    for round in 1..=ROUNDS_MAX {
        without = without.min(off.round("/kept").await);
        with = with.min(on.round("/kept").await);
        if round >= ROUNDS_MIN && !has_grown(without, with) {
            break;
        }
    }
    eprintln!("cached hit: {without} instructions without traces, {with} if it is not recorded");
    assert!(!has_grown(without, with), "{with} after {without}");
}

#[tokio::test]
async fn no_hot_path_takes_a_tenth_more_instructions_than_recorded() {
    if !has_valgrind() {
        eprintln!("SKIPPED: valgrind is not installed, so instructions are not counted");
        return;
    }
    let mut counts = count_requests().await;
    count_decisions(&mut counts);
    if Environment::of_process().get("INSTRUCTIONS") == Some("record") {
        return record(&counts);
    }
    let recorded = recorded();
    for (name, count) in &counts {
        let before = recorded[name.as_str()];
        let grown = *count * 10 > before * 11;
        assert!(
            !grown,
            "{name}: {count} instructions, recorded are {before}"
        );
        eprintln!("{name}: {count} instructions, recorded are {before}");
    }
}
