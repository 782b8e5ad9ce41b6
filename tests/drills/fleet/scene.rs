//! The scene of the fleet's drills: requests enter in one region, which hands them on, 40 and 110 ms away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use http::Method;
use tidegate::gateway::admin::Topology;
use tidegate::peers::FleetView;
use tidegate::testkit::until;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::drills::drill::Length;
use crate::drills::scene::pass;
use crate::drills::traffic::{Answers, Traffic};
use crate::handing_on::{FleetScene, REGIONS, named};
use crate::world::{DEADLINE, wait_ready};

/// The gateways, by their place in the scene: that of the entry, the preferred region's and the next one's.
pub(super) const ENTRY: usize = 0;
pub(super) const PREFERRED: usize = 1;
pub(super) const NEXT: usize = 2;

/// As many connections as a node needs to take over from another.
const POOL: &str = "[pool]\nconnections_min = 8\nconnections_max = 32\n";

const NOTES: &str = r#"
[[policy]]
path = "/notes"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/notes"
sql = "select count(*) as notes from documents"
[[endpoint]]
method = "POST"
path = "/notes"
sql = "update documents set updated_at = now() returning 1 as one"
"#;

/// What a region is given to be left in, beside a busy machine.
pub(super) const LEFT_WITHIN: Duration = Duration::from_millis(1_500);
pub(super) const NOISE: Duration = Duration::from_millis(500);

/// How often the states are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(20);

/// One way between two regions.
pub(super) fn way(from: usize, to: usize) -> Duration {
    Duration::from_millis(match from.min(to) + from.max(to) {
        1 => 40,
        _ => 110,
    })
}

/// Starts gateways of three regions with an application each.
pub(super) async fn start(policy: &str, app: impl Fn(&'static str) -> Router) -> FleetScene {
    let mut scene = FleetScene::prepared(3, policy, "", app).await;
    scene.share_policy();
    scene.lay_lines(way).await;
    scene.start_all().await;
    scene
}

/// Starts gateways of three regions whose `/notes` are in databases, which variables name.
pub(super) async fn start_with_notes(
    policy: &str,
    variables: Vec<(usize, &'static str, String)>,
) -> FleetScene {
    let mut scene = FleetScene::prepared(3, policy, &format!("{POOL}{NOTES}"), named).await;
    scene.variables = variables;
    scene.share_policy();
    scene.lay_lines(way).await;
    scene.start_all().await;
    for at in [ENTRY, PREFERRED, NEXT] {
        wait_ready(&scene.client, scene.gateway(at)).await;
    }
    scene
}

/// Reads and writes that arrive at the entry.
pub(super) struct Load {
    reads: Traffic,
    writes: Traffic,
}

impl Load {
    pub(super) fn start(scene: &FleetScene, length: Length) -> Self {
        let (reads, writes) = match length {
            Length::Full => (200, 20),
            Length::Short => (100, 10),
        };
        Self::of(scene, "/app/x", reads, writes)
    }

    pub(super) fn of(scene: &FleetScene, path: &str, reads: u32, writes: u32) -> Self {
        let (client, url) = (scene.client.clone(), scene.gateway(ENTRY).url(path));
        let read = {
            let (client, url) = (client.clone(), url.clone());
            move |_| client.get(&url)
        };
        let write = move |_| client.request(Method::POST, &url).body("{}");
        Self {
            reads: Traffic::start(reads, read),
            writes: Traffic::start(writes, write),
        }
    }

    /// Returns the answers to reads and to writes.
    pub(super) async fn stop(self) -> (Answers, Answers) {
        (self.reads.stop().await, self.writes.stop().await)
    }
}

/// A gateway's view of a region, noted again and again.
pub(super) struct Watch {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Vec<(Instant, FleetView)>>,
}

/// What was noted.
pub(super) struct Noted(Vec<(Instant, FleetView)>);

impl Watch {
    pub(super) fn begin(scene: &FleetScene, at: usize) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (client, watched) = (scene.client.clone(), Arc::clone(&stopped));
        let url = scene.gateway(at).admin_url("/admin/topology");
        let task = tokio::spawn(async move {
            let mut noted = Vec::new();
            while !watched.load(Ordering::Relaxed) {
                // The gateway itself may be restarted.
                if let Ok(answer) = client.get(&url).send().await {
                    let topology: Topology = answer.json().await.unwrap();
                    noted.push((Instant::now(), topology.fleet.unwrap()));
                }
                sleep(LOOKED_AT_EVERY).await;
            }
            noted
        });
        Self { stopped, task }
    }

    pub(super) async fn end(self) -> Noted {
        self.stopped.store(true, Ordering::Relaxed);
        Noted(self.task.await.unwrap())
    }
}

impl Noted {
    /// Returns how long after a moment a region was first seen to get no requests.
    pub(super) fn left_after(&self, region: &str, since: Instant) -> Option<Duration> {
        let gone = |(at, view): &&(Instant, FleetView)| *at >= since && !serves(view, region);
        self.0.iter().find(gone).map(|(at, _)| *at - since)
    }

    /// Returns how often a region came to get requests or ceased to.
    pub(super) fn transitions(&self, region: &str) -> usize {
        let mut states: Vec<_> = self
            .0
            .iter()
            .map(|(_, view)| serves(view, region))
            .collect();
        states.dedup();
        states.len().saturating_sub(1)
    }

    /// Returns the regions that got no requests at some time.
    pub(super) fn left(&self) -> Vec<&'static str> {
        let moved = |region: &&str| self.0.iter().any(|(_, view)| !serves(view, region));
        REGIONS.into_iter().filter(moved).collect()
    }
}

fn serves(view: &FleetView, region: &str) -> bool {
    let found = view.regions.iter().find(|it| it.region == region);
    found.is_none_or(|it| ["well", "ramping"].contains(&it.state.as_str()))
}

/// Waits until a gateway sees a region in a state.
pub(super) async fn until_state(scene: &FleetScene, at: usize, region: usize, state: &str) {
    let what = format!("{} is {state}", REGIONS[region]);
    until(&what, 2 * DEADLINE, async || {
        let view = scene.view(at).await;
        let found = view.regions.iter().find(|it| it.region == REGIONS[region]);
        Ok(found.filter(|it| it.state == state).map(|_| ()))
    })
    .await
    .unwrap();
}

/// Drops everything between two gateways, or no longer.
pub(super) fn black_hole(scene: &FleetScene, one: usize, other: usize, on: bool) {
    scene.lines[&(one, other)].black_hole(on);
    scene.lines[&(other, one)].black_hole(on);
}

/// Lets the load run until all estimates have settled.
pub(super) async fn settle() {
    pass(Duration::from_secs(2)).await;
}
