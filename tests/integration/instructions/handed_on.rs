//! A request to an application in another region, in the gateway where it enters and in the one that serves it.

use tidegate::testkit::until;

use super::callgrind::{Callgrind, Script};
use super::{Counts, REQUESTS};
use crate::handing_on::kit::{AWAY, FleetScene, REGIONS, named, serving};
use crate::world::DEADLINE;

/// Fewer than elsewhere: two gateways are counted at a time.
const ROUNDS_MIN: usize = 2;
const ROUNDS_MAX: usize = 6;

/// There is no database to sample.
const SETTINGS: &str = "[replication]\nsample_interval = \"2s\"\n";

const NAMES: [&str; 2] = [
    "handed on, where it enters",
    "handed on, where it is served",
];

/// Counts in both gateways at the same time.
pub(super) async fn count(counts: &mut Counts) {
    let scripts = NAMES.map(|_| Script::new());
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
    until("all are handed on", DEADLINE, async || {
        Ok(are_handed_on(&scene, 20).await.then_some(()))
    })
    .await
    .unwrap();
    let (mut least, mut rounds) = ([u64::MAX; 2], 0);
    for _ in 0..ROUNDS_MAX {
        sides.iter().for_each(Callgrind::reset);
        let is_counted = are_handed_on(&scene, REQUESTS).await;
        let read = sides.each_mut().map(Callgrind::read);
        // While instructions are counted, the other region may be too slow to be well.
        if !is_counted {
            continue;
        }
        least = [least[0].min(read[0]), least[1].min(read[1])];
        rounds += 1;
        if rounds == ROUNDS_MIN {
            break;
        }
    }
    assert!(rounds > 0, "the other region has never served all requests");
    for (name, least) in NAMES.iter().zip(least) {
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
