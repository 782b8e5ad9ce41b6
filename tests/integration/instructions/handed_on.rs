//! A request to an application in another region, in the gateway where it enters and in the one that serves it.
//!
//! Only what the request's own task does, between its head and that of its answer: regions tell one another how they
//! are meanwhile, which would be most of the count, and more the slower a machine is.

use tidegate::testkit::until;

use super::callgrind::{Callgrind, REQUEST, Script};
use super::{Counts, REQUESTS, ROUNDS_MIN};
use crate::handing_on::kit::{AWAY, FleetScene, REGIONS, named, serving};
use crate::world::DEADLINE;

/// While instructions are counted, the other region may be too slow to be well, and a round is void.
const ROUNDS_MAX: usize = 2 * ROUNDS_MIN;

/// There is no database to sample.
const SETTINGS: &str = "[replication]\nsample_interval = \"2s\"\n";

const SIDES: [(&str, &str); 2] = [
    ("handed on, where it enters", REQUEST),
    (
        "handed on, where it is served",
        "tidegate::peers::served_peer::ServedPeer::answer::{{closure}}",
    ),
];

/// Counts in both gateways at the same time, unless the machine is so busy that the other region, whose
/// instructions are counted, is too slow for the first to be well.
#[expect(
    clippy::print_stderr,
    reason = "a test says what it counts, and what not"
)]
pub(super) async fn count(counts: &mut Counts) {
    let scripts = SIDES.map(|(_, function)| Script::only(function));
    let mut scene = FleetScene::prepared(2, AWAY, SETTINGS, named).await;
    for (at, script) in scripts.iter().enumerate() {
        let log = "info,tidegate::access=warn".to_owned();
        scene.binaries.insert(at, script.path());
        scene.variables.push((at, "RUST_LOG", log));
    }
    scene.start_all().await;
    let [entrance, other] = scripts;
    let mut sides = [
        entrance.counting(scene.gateway(0)),
        other.counting(scene.gateway(1)),
    ];
    are_handed_on(&scene, 50).await;
    sides.iter().for_each(Callgrind::begin);
    let warm = until("all are handed on", DEADLINE, async || {
        Ok(are_handed_on(&scene, 20).await.then_some(()))
    });
    // If that never is, no round counts below.
    let _ = warm.await;
    let (mut least, mut rounds) = ([u64::MAX; 2], 0);
    for _ in 0..ROUNDS_MAX {
        sides.iter().for_each(Callgrind::reset);
        let is_counted = are_handed_on(&scene, REQUESTS).await;
        let read = sides.each_mut().map(Callgrind::read);
        if !is_counted {
            continue;
        }
        least = [least[0].min(read[0]), least[1].min(read[1])];
        rounds += 1;
        if rounds == ROUNDS_MIN {
            break;
        }
    }
    if rounds == 0 {
        eprintln!(
            "not counted: requests handed on, as the other region has never served all of them"
        );
        return;
    }
    for ((name, _), least) in SIDES.iter().zip(least) {
        counts.insert((*name).to_owned(), least / REQUESTS);
    }
}

/// Sends requests one after another; returns whether the other region has served all of them.
async fn are_handed_on(scene: &FleetScene, times: u64) -> bool {
    let mut handed = 0;
    for _ in 0..times {
        let response = scene.get("/app/answer").await;
        assert_eq!(response.status(), 200);
        handed += u64::from(serving(&response) == REGIONS[1]);
        response.bytes().await.unwrap();
    }
    handed == times
}
