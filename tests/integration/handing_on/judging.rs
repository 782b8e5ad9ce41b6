//! Which region serves, by how the regions are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use tokio::time::{Duration, Instant};

use axum::Router;
use http::StatusCode;
use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::kit::{FleetScene, entry, serving};
use crate::world::{DEADLINE, migrated_cluster};

const CLAUSES: &str = "\
  leave   when errors > 20% for 200ms
  return  when errors < 1% for 300ms
  retry   idempotent 1 budget 20%
";

/// Applications that answer with a status of their region.
fn statuses() -> ([Arc<AtomicU16>; 2], impl Fn(&'static str) -> Router) {
    let statuses = [200, 200].map(|it| Arc::new(AtomicU16::new(it)));
    let all = statuses.clone();
    let app = move |region: &'static str| {
        let status = Arc::clone(&all[usize::from(region == "us-east-1")]);
        let answer = move || async move {
            let status = StatusCode::from_u16(status.load(Ordering::Relaxed)).unwrap();
            (status, region)
        };
        Router::new().fallback(answer)
    };
    (statuses, app)
}

impl FleetScene {
    /// Sends requests until one is served in a region; returns that one's list item of the entry.
    async fn until_served_in(&self, region: &str) -> String {
        until(region, DEADLINE, async || {
            let response = self.get("/app/x").await;
            let is_it = serving(&response) == region;
            Ok(is_it.then(|| entry(&response).to_owned()))
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_region_that_fails_is_left_and_returns_by_probes() {
    let policy = format!("policy away {{\n  prefer us-east-1 | local\n{CLAUSES}}}\n");
    let (statuses, app) = statuses();
    let scene = FleetScene::with(2, &policy, "", app).await;
    scene.until_served_in("us-east-1").await;
    statuses[1].store(500, Ordering::Relaxed);
    let item = scene.until_served_in("eu-west-1").await;
    assert!(!item.contains("fwd="), "{item}");
    let asked = scene.app(1).asked().len();
    until("it is probed", DEADLINE, async || {
        Ok((scene.app(1).asked().len() > asked + 5).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(serving(&scene.get("/app/x").await), "eu-west-1");
    assert_eq!(scene.app(1).last().target, "/app/x");
    statuses[1].store(200, Ordering::Relaxed);
    scene.until_served_in("us-east-1").await;
}

#[tokio::test]
async fn a_gateway_whose_own_region_fails_hands_requests_on() {
    let policy = format!("policy near {{\n  prefer local | us-east-1\n{CLAUSES}}}\n");
    let (statuses, app) = statuses();
    let scene = FleetScene::with(2, &policy, "", app).await;
    scene.until_served_in("eu-west-1").await;
    statuses[0].store(500, Ordering::Relaxed);
    let item = scene.until_served_in("us-east-1").await;
    assert_eq!(item, "eu-west-1; fwd=us-east-1; policy=near; reason=left");
}

#[tokio::test]
async fn a_region_that_has_left_by_its_own_view_returns_although_nobody_sends_it_anything() {
    let policy = format!("policy near {{\n  prefer local | us-east-1\n{CLAUSES}}}\n");
    let (statuses, app) = statuses();
    let cluster = migrated_cluster(0).await;
    let mut scene = FleetScene::prepared(2, &policy, "", app).await;
    // With a database its health is well whatever the application is.
    let url = cluster.primary.url();
    scene.variables.push((0, "DATABASE_URL", url));
    scene.start_all().await;
    statuses[0].store(500, Ordering::Relaxed);
    scene.until_served_in("us-east-1").await;
    statuses[0].store(200, Ordering::Relaxed);
    // The other region has handed nothing here, so it asks for the health alone. What has failed counts for
    // half a minute.
    until("it serves its own clients", DEADLINE * 2, async || {
        let response = scene.get("/app/x").await;
        Ok((serving(&response) == "eu-west-1").then_some(()))
    })
    .await
    .unwrap();
}

async fn slowly() -> &'static str {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    "slow"
}

#[tokio::test]
async fn a_path_that_takes_long_is_not_probed_and_keeps_no_region_away() {
    let policy = format!("policy away {{\n  prefer us-east-1 | local\n{CLAUSES}}}\n");
    let (statuses, app) = statuses();
    let app = |region| app(region).route("/app/slow", axum::routing::get(slowly));
    let scene = FleetScene::with(2, &policy, "", app).await;
    let slow = scene.get("/app/slow").await;
    assert_eq!((slow.status().as_u16(), serving(&slow)), (200, "us-east-1"));
    scene.until_served_in("us-east-1").await;
    statuses[1].store(500, Ordering::Relaxed);
    scene.until_served_in("eu-west-1").await;
    statuses[1].store(200, Ordering::Relaxed);
    scene.until_served_in("us-east-1").await;
    let asked = scene.app(1).asked();
    let slow = asked.iter().filter(|it| it.target == "/app/slow");
    assert_eq!(slow.count(), 1);
}

#[tokio::test]
async fn a_path_that_hangs_when_one_gateway_probes_it_does_not_speak_for_the_region() {
    let policy = format!("policy away {{\n  prefer us-east-1 | local\n{CLAUSES}}}\n");
    let (statuses, app) = statuses();
    let hangs = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hangs);
    let app = move |region: &'static str| {
        let hangs = Arc::clone(&told);
        let answer = move || async move {
            if hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            region
        };
        app(region).route("/app/hangs", axum::routing::get(answer))
    };
    // So that the probe ends by the region's answer, and not as often by the other gateway's own clock.
    let deadline = "[server]\nrequest_deadline = \"2s\"\n";
    let scene = FleetScene::with(2, &policy, deadline, app).await;
    let quick = scene.get("/app/hangs").await;
    let answered = (quick.status().as_u16(), serving(&quick));
    assert_eq!(answered, (200, "us-east-1"));
    scene.until_served_in("us-east-1").await;
    statuses[1].store(500, Ordering::Relaxed);
    scene.until_served_in("eu-west-1").await;
    hangs.store(true, Ordering::Relaxed);
    statuses[1].store(200, Ordering::Relaxed);
    let probes = || {
        let asked = scene.app(1).asked();
        asked.iter().filter(|it| it.target == "/app/hangs").count()
    };
    let before = probes();
    until("probes of the path have timed out", DEADLINE, async || {
        Ok((probes() > before + 3).then_some(()))
    })
    .await
    .unwrap();
    until("the region says that nothing fails", DEADLINE, async || {
        let view = scene.view(1).await;
        let own = &view.regions[0];
        anyhow::ensure!(own.errors.is_some_and(|it| it < 1e-6), "{own:?}");
        anyhow::ensure!(own.p99_ms.is_some_and(|it| it < 1_000.0), "{own:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    assert_eq!(scene.view(0).await.regions[1].state, "left");
}

/// Whether all threads of a process are stopped (proc(5): state T).
fn has_stopped(pid: u32) -> std::io::Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        if !status.lines().any(|line| line.starts_with("State:\tT")) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[tokio::test]
async fn a_region_that_swallows_everything_is_left_and_what_hung_is_answered_elsewhere() {
    let policy = "policy away { prefer us-east-1 | ap-southeast-1 | local\n retry idempotent 1 budget 20% }\n";
    let scene = FleetScene::start(3, policy).await;
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
    scene.gateway(1).signal(Signal::SIGSTOP);
    let pid = scene.gateway(1).pid().unwrap();
    let all_stopped = async || Ok(has_stopped(pid)?.then_some(()));
    until("its threads have stopped", DEADLINE, all_stopped)
        .await
        .unwrap();
    let began = Instant::now();
    let response = scene.get("/app/x").await;
    let took = began.elapsed();
    assert_eq!(serving(&response), "ap-southeast-1");
    // Left within 1.5 s where the machine does nothing else.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let next = Instant::now();
    assert_eq!(serving(&scene.get("/app/x").await), "ap-southeast-1");
    assert!(next.elapsed() < Duration::from_secs(1));
    scene.gateway(1).signal(Signal::SIGCONT);
}

#[tokio::test]
async fn peers_and_the_built_in_policy_are_read_anew() {
    let scene = FleetScene::start(2, "policy away { prefer us-east-1 | local }\n").await;
    scene.until_served_in("us-east-1").await;
    let file = scene.file("eu-west-1.toml");
    let with_peers = std::fs::read_to_string(&file).unwrap();
    let mut lines = with_peers
        .lines()
        .filter(|it| !it.contains("traffic_policy"));
    let without_peers: String = lines
        .by_ref()
        .map(|it| {
            if it.starts_with("peers") {
                "peers = []\n".to_owned()
            } else {
                format!("{it}\n")
            }
        })
        .collect();
    crate::world::reload(scene.gateway(0), &file, &without_peers).await;
    scene.until_served_in("eu-west-1").await;
    until("its tunnels end", DEADLINE, async || {
        let view = scene.view(0).await;
        Ok((view.regions[1].tunnels == 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_gateway_that_is_killed_or_restarted_under_load_fails_no_safe_request() {
    let policy = "policy away { prefer us-east-1 | ap-southeast-1 | local\n retry idempotent 1 budget 20% }\n";
    let brief = "[server]\ndrain_delay = \"300ms\"\n";
    let mut scene = FleetScene::configured(3, policy, brief).await;
    let ended = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (ended, client) = (Arc::clone(&ended), scene.client.clone());
            let url = scene.gateway(0).url("/app/x");
            tokio::spawn(async move {
                let mut served = std::collections::BTreeMap::<String, usize>::new();
                while !ended.load(Ordering::Relaxed) {
                    let response = client.get(&url).send().await.unwrap();
                    assert_eq!(response.status(), 200, "{}", entry(&response));
                    *served.entry(serving(&response).to_owned()).or_default() += 1;
                    response.bytes().await.unwrap();
                }
                served
            })
        })
        .collect();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        scene.until_served_in("us-east-1").await;
        scene.gateway(1).signal(signal);
        scene.until_served_in("ap-southeast-1").await;
        let mut ending = scene.members[1].gateway.take().unwrap();
        ending.wait().await.unwrap();
        scene.start_one(1).await;
    }
    ended.store(true, Ordering::Relaxed);
    for load in load {
        let served = load.await.unwrap();
        assert!(
            served.len() > 1 && !served.contains_key("eu-west-1"),
            "{served:?}"
        );
    }
}
