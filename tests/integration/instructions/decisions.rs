//! The decisions, each counted in a process of its own.

use std::hint::black_box;
use std::process::Command;

use tidegate_model::{Consistency, RequestToken, normalise};
use tidegate_policy::{Decision, PolicyRow, PolicyTable};
use tidegate_traffic::decide::{Request, decide};
use tidegate_traffic::facts::Facts;
use tidegate_traffic::plan::{Plan, Tier};

use super::Counts;
use super::callgrind::total;

#[path = "../../bench/policies.rs"]
mod policies;

const DECISIONS: u64 = 1_000;

/// Instructions of one decision of each kind, counted in processes of their own.
pub(super) fn count(counts: &mut Counts) {
    for (name, test) in [
        ("decision", "policies_of_paths"),
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
        .args([
            "--exact",
            &format!("instructions::decisions::{test}"),
            "--ignored",
        ]);
    let output = valgrind.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    total(&dump)
}

#[test]
#[ignore = "run under callgrind by the test below"]
fn policies_of_paths() {
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
