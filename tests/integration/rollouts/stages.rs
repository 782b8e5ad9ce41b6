//! A share at a time, and back by itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegate::testkit::until;

use super::kit::{EU, Ended, LOCAL, Leader, Scene, TO_US, Traffic, US, metric};
use crate::upstream::kit::App;
use crate::world::DEADLINE;

impl Ended {
    /// The lines of a rollout.
    fn events(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Waits until the open rollout is at a stage.
async fn until_at(scene: &Scene, region: &str, share: u64) {
    until("the rollout is at its stage", DEADLINE, async || {
        let status = scene.status().await;
        let open = &status["open"];
        let is_at = open["region"] == region && open["share"] == share;
        Ok(is_at.then_some(()))
    })
    .await
    .unwrap();
}

/// Begins to roll out the second revision, here first, however many decisions it changes.
fn begun(scene: &Scene, bake: &str) -> Leader {
    let arguments = [
        "2",
        "--bake",
        bake,
        "--blast-radius",
        "100%",
        "--canary",
        EU,
    ];
    Leader::start(scene, &arguments)
}

#[tokio::test]
async fn a_good_revision_passes_shadow_and_a_regions_shares_and_is_in_force() {
    let mut scene = Scene::start("").await;
    scene.two_revisions().await;
    // The other region has no living gateway.
    scene.gateways.truncate(1);
    let forget = "delete from tidegate.traffic_gateway where region = 'us-east-1'";
    scene.cluster.primary.execute(forget).await.unwrap();
    let traffic = Traffic::start(&scene);
    let order = format!("{EU},{US}");
    let arguments = [
        "2",
        "--bake",
        "2200ms",
        "--blast-radius",
        "100%",
        "--order",
        &order,
    ];
    let ended = Leader::start(&scene, &arguments).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events = ended.events();
    let entered = events.iter().filter(|it| it["state"] == "entered");
    let stages: Vec<_> = entered
        .map(|it| {
            (
                it["region"].as_str().unwrap_or("all").to_owned(),
                it["share"].as_f64().unwrap(),
            )
        })
        .collect();
    let shares = |region: &str| [0.05, 0.25, 1.0].map(|share| (region.to_owned(), share));
    let expected = [
        vec![("all".to_owned(), 0.0)],
        shares(EU).to_vec(),
        shares(US)[..1].to_vec(),
    ]
    .concat();
    assert_eq!(stages, expected, "{ended:?}");
    let passed = |share: f64| {
        let is_it =
            |it: &&Value| it["state"] == "passed" && it["region"] == EU && it["share"] == share;
        events.iter().find(is_it).unwrap()
    };
    let new = |share| passed(share)["new"]["requests"].as_f64().unwrap();
    let all = |share| new(share) + passed(share)["old"]["requests"].as_f64().unwrap();
    assert!(new(0.25) > 0.0 && new(0.25) < 0.6 * all(0.25), "{ended:?}");
    assert!(new(1.0) > 0.0, "{ended:?}");
    let [.., left, last] = &events[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(
        (&left["state"], &left["region"], &left["reason"]),
        (
            &"passed-over".into(),
            &US.into(),
            &"no living gateway".into()
        )
    );
    assert_eq!(
        (&last["state"], &last["revision"]),
        (&"done".into(), &2.into())
    );
    assert_eq!(last["reason"], "without a living gateway: us-east-1");
    scene.until_revision("2", DEADLINE).await;
    assert_eq!(scene.served_by(0, "/app/x").await, "far");
    assert_eq!(traffic.failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_revision_that_sends_requests_to_a_region_that_errors_is_vetoed_and_taken_back() {
    let apps = [
        App::answering(200, "near").await,
        App::answering(500, "far").await,
    ];
    let scene = Scene::before(apps, "").await;
    scene.two_revisions().await;
    let traffic = Traffic::start(&scene);
    let before = traffic.failed.load(Ordering::Relaxed);
    // On a busy machine a stage takes longer to have enough requests.
    let enough = [
        "2",
        "--bake",
        "6s",
        "--blast-radius",
        "100%",
        "--min-samples",
        "40",
    ];
    let arguments = [&enough[..], &["--canary", EU]].concat();
    let ended = Leader::start(&scene, &arguments).ended().await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    // By the gateway within two windows, or where they have too few requests at the stage's end.
    let vetoed = ended.told.contains("vetoed: errors");
    assert!(vetoed || ended.told.contains("by errors"), "{ended:?}");
    let events = ended.events();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["state"], &last["region"], &last["share"]),
        (&"stopped".into(), &EU.into(), &0.05.into())
    );
    let (exposed, decided) = (
        last["exposed"].as_f64().unwrap(),
        last["decided"].as_f64().unwrap(),
    );
    assert!(exposed > 0.0 && exposed <= 0.02 * decided, "{last}");
    assert!(traffic.failed.load(Ordering::Relaxed) > before);
    let vetoes = metric(
        &scene.gateways[0],
        "tidegate_traffic_vetoes_total{cause=\"errors\"}",
    );
    assert_eq!(vetoes.await, f64::from(u8::from(vetoed)));
    scene.until_revision("1", DEADLINE).await;
    assert_eq!(scene.served_by(0, "/app/x").await, "near");
    let status = scene.status().await;
    assert_eq!(
        (&status["last"]["outcome"], &status["open"]),
        (&"stopped".into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_revision_that_moves_more_than_the_blast_radius_is_stopped_in_shadow() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let _traffic = Traffic::start(&scene);
    let ended = Leader::start(&scene, &["2", "--bake", "20s"]).ended().await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.told.contains("decisions would change"), "{ended:?}");
    let stages = ended.events().into_iter().map(|it| it["stage"].clone());
    assert!(
        stages.into_iter().all(|stage| stage == "shadow"),
        "{ended:?}"
    );
    scene.until_revision("1", DEADLINE).await;
}

#[tokio::test]
async fn a_second_rollout_is_refused_and_the_first_can_be_paused_and_aborted() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let first = begun(&scene, "1s");
    until_at(&scene, EU, 500).await;
    let second = scene.policy(&["rollout", "2"]).await;
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.told.contains("led by ada@"), "{second:?}");
    assert!(
        second.told.contains("`tidegate policy abort`"),
        "{second:?}"
    );
    scene.done(&["pause"]).await;
    let paused = scene.status().await["open"].clone();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scene.status().await["open"], paused, "it stands still");
    scene.done(&["resume"]).await;
    until("it goes on", DEADLINE, async || {
        let status = scene.status().await;
        Ok((status["open"]["share"] != paused["share"]).then_some(()))
    })
    .await
    .unwrap();
    scene.done(&["abort"]).await;
    let ended = first.ended().await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    scene.until_revision("1", DEADLINE).await;
}

#[tokio::test]
async fn ctrl_c_and_a_closed_terminal_abort_and_everything_is_as_before() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let leader = begun(&scene, "1s");
        until_at(&scene, EU, 500).await;
        leader.signal(signal);
        let ended = leader.ended().await;
        assert_eq!(ended.code, Some(5), "{ended:?}");
        assert_eq!(scene.status().await["last"]["outcome"], "aborted");
        scene.until_revision("1", DEADLINE).await;
    }
}

#[tokio::test]
async fn a_rollout_on_which_no_gateway_reports_puts_nothing_in_force_and_says_what_would_be_right()
{
    let scene = Scene::prepared(1).await;
    scene.push(LOCAL).await;
    let quick = ["rollout", "1", "--bake", "1ms", "--wait", "1s"];
    let ended = scene.policy(&quick).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.told.contains("no gateway reports: "), "{ended:?}");
    assert!(!ended.out.contains("passed"), "{ended:?}");
    let status = scene.status().await;
    assert_eq!(status["in_force"]["revision"], 0, "{status}");
    assert_eq!(status["last"]["outcome"], "stopped", "{status}");
    // In an emergency no gateway needs to be alive.
    scene.push(TO_US).await;
    scene.roll_out_by_hand("1").await;
    scene.roll_out_by_hand("2").await;
    assert_eq!(scene.done(&["rollback"]).await, "revision 1 is in force");
}
