//! All gateways are restarted one after the other, two a region, under load.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::scene::{Watch, settle};
use crate::drills::drill::{Length, Row};
use crate::drills::traffic::Traffic;
use crate::handing_on::{FleetScene, REGIONS, named};

const POLICY: &str = "\
policy away {
  prefer us-east-1 | ap-southeast-1 | local
  leave  when errors > 2% for 1s
  return when errors < 1% for 2s
  retry  idempotent 2 budget 20%
}
";

/// How long a gateway that ends still accepts what is handed to it, and clients.
const DRAIN: &str = "[server]\ndrain_delay = \"1s\"\n";

/// The gateways of the region where requests enter.
const ENTRIES: [usize; 2] = [0, 3];

pub(super) async fn of_all(length: Length) -> Row {
    let mut row = Row::new("rolling restart of all gateways");
    let mut scene = FleetScene::prepared(3, POLICY, DRAIN, named).await;
    scene.share_policy();
    scene.add_second_gateways().await;
    scene.start_all().await;
    let per_second = match length {
        Length::Full => 200,
        Length::Short => 100,
    };
    // What a load balancer does with gateways that say that they drain.
    let entries = Arc::new(Mutex::new(urls(&scene, None)));
    let (client, open) = (scene.client.clone(), Arc::clone(&entries));
    let load = Traffic::start(per_second, move |number| {
        let entries = open.lock().unwrap();
        client.get(&entries[number % entries.len()])
    });
    settle().await;
    let mut left = Vec::new();
    for at in 0..scene.members.len() {
        *entries.lock().unwrap() = urls(&scene, Some(at));
        let others = (0..scene.members.len()).filter(|other| *other != at);
        let watches: Vec<_> = others.map(|other| Watch::begin(&scene, other)).collect();
        scene.gateway(at).signal(Signal::SIGTERM);
        let mut ending = scene.members[at].gateway.take().unwrap();
        ending.wait().await.unwrap();
        scene.start_one(at).await;
        for other in 0..scene.members.len() {
            scene.until_all_are(other, "well").await;
        }
        *entries.lock().unwrap() = urls(&scene, None);
        crate::drills::scene::pass(Duration::from_millis(500)).await;
        for watch in watches {
            left.extend(watch.end().await.left());
        }
    }
    let answers = load.stop().await;
    row.show(format!("{} reads", answers.count()), true);
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    let elsewhere = answers.count() - answers.served_in(REGIONS[1]).count();
    row.show(format!("{elsewhere} served in another region"), true);
    row.show(format!("left: {left:?}"), left.is_empty());
    row
}

/// Where requests enter, without a gateway that is restarted.
fn urls(scene: &FleetScene, without: Option<usize>) -> Vec<String> {
    let entries = ENTRIES.into_iter().filter(|at| Some(*at) != without);
    entries.map(|at| scene.gateway(at).url("/app/x")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_safe_request_and_makes_no_region_leave() {
    of_all(Length::Short).await.verdict();
}
