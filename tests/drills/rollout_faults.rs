//! A rollout loses its leader or its primary, in each of its stages: the old revision decides everywhere
//! again, and nothing goes on by itself.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tidegate::testkit::{DelayProxy, until};
use tokio::time::{Instant, sleep_until};

use super::drill::{Length, Row, ms};
use crate::rollouts::kit::{EU, Leader, Scene, US, in_force, metric, share};
use crate::world::{DEADLINE, client};

/// A lease of ten seconds, a poll and a busy machine.
const FALLEN_BACK_MAX: Duration = Duration::from_secs(12);

/// As long as the row of a rollout outlives its leader.
const PAUSED: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The leading process is killed.
    Killed,
    /// It stands still for a while, and resumes.
    Paused,
    /// Nothing that it sends arrives; its connection stays open.
    CutOff,
    /// The primary is killed, and started again.
    NoPrimary,
}

/// Where a rollout is held: the region, none in shadow, and the share of its keys, of 10,000.
type Stage = (Option<&'static str>, u16);

const STAGES: [Stage; 5] = [
    (None, 0),
    (Some(EU), 500),
    (Some(EU), 2_500),
    (Some(EU), 10_000),
    (Some(US), 500),
];

const FAULTS: [Fault; 4] = [
    Fault::Paused,
    Fault::CutOff,
    Fault::NoPrimary,
    Fault::Killed,
];

/// Each fault in each stage, the stages at the same time; a short drill has one fault in three stages.
pub(super) async fn in_each_stage(length: Length) -> Row {
    let (rounds, stages) = match length {
        Length::Full => (FAULTS.len(), STAGES.len()),
        Length::Short => (1, 3),
    };
    let mut row = Row::new("rollout without leader or primary");
    for round in 0..rounds {
        let drills = STAGES.iter().enumerate().take(stages);
        let drills = drills.map(|(at, stage)| drill(*stage, FAULTS[(at + round) % FAULTS.len()]));
        for (what, took) in join_all(drills).await {
            row.show(format!("{what}: {}", ms(took)), took <= FALLEN_BACK_MAX);
        }
    }
    row
}

/// Returns what was drilled, and how long it took until the old revision decided everywhere.
async fn drill(stage: Stage, fault: Fault) -> (String, Duration) {
    let what = format!("{fault:?} at {} {}", stage.0.unwrap_or("shadow"), stage.1);
    let mut scene = Scene::start("").await;
    scene.two_revisions().await;
    hold(&scene, stage).await;
    let line = DelayProxy::start(scene.cluster.primary.address());
    let line = line.await.unwrap();
    let arguments = ["--bake", "100ms", "--blast-radius", "100%", "--canary", EU];
    let url = scene.cluster.primary.url_at(line.address());
    let leader = Leader::start_at(&url, &[&["2"], &arguments[..]].concat());
    until_held(&scene, stage).await;

    let begun = Instant::now();
    match fault {
        Fault::Killed => leader.signal(Signal::SIGKILL),
        Fault::Paused => leader.signal(Signal::SIGSTOP),
        Fault::CutOff => line.black_hole(true),
        Fault::NoPrimary => scene.cluster.primary.kill().await.unwrap(),
    }
    until(
        "the old revision decides everywhere",
        DEADLINE,
        async || {
            for gateway in &scene.gateways {
                if share(gateway).await > 0.0 || in_force(gateway).await != "1" {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        },
    )
    .await
    .unwrap_or_else(|error| panic!("{what}: {error:#}"));
    let took = begun.elapsed();
    for key in 0..100 {
        let url = scene.gateways[0].url("/app/x");
        let request = client().get(url).header("x-client", key.to_string());
        let served = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(served, "near", "{what}: {key}");
    }
    if fault == Fault::Paused {
        sleep_until(begun + PAUSED).await;
        leader.signal(Signal::SIGCONT);
    }
    let ended = leader.ended().await;
    let expected = (fault != Fault::Killed).then_some(6);
    assert_eq!(ended.code, expected, "{what}: {ended:?}");
    if fault == Fault::NoPrimary {
        scene.cluster.primary.start().await.unwrap();
    }
    nothing_goes_on(&scene, stage, &what).await;
    (what, took)
}

/// Makes the rollout stand still at a stage.
async fn hold(scene: &Scene, (region, share): Stage) {
    let is_there = match region {
        None => "new.region is null".to_owned(),
        Some(region) => format!("new.region = '{region}' and new.share = {share}"),
    };
    let sql = format!(
        "create function hold() returns trigger language plpgsql as $$ \
         begin new.paused := true; return new; end $$; \
         create trigger hold before insert or update on tidegate.traffic_rollout \
         for each row when (new.outcome is null and {is_there}) execute function hold()"
    );
    scene.cluster.primary.execute(&sql).await.unwrap();
}

/// Waits until every gateway does what the stage says.
async fn until_held(scene: &Scene, (region, share): Stage) {
    let share = f64::from(share) / 10_000.0;
    let is_at = |it: &serde_json::Value| match (it["region"].as_str(), region) {
        (_, None) => it["state"] == "loaded",
        (Some(own), Some(region)) if own == region => it["share"] == share,
        // Before the canary's turn has passed.
        (Some(US), Some(_)) => it["state"] == "loaded",
        (_, Some(_)) => it["share"] == 1.0,
    };
    scene.until_reported("the stage is reached", is_at).await;
}

/// The rollout has expired where it was, and all gateways say what is in force.
async fn nothing_goes_on(scene: &Scene, (region, share): Stage, what: &str) {
    let last = until("the rollout has expired", DEADLINE, async || {
        let last = scene.status().await["last"].clone();
        Ok((last["outcome"] == "expired").then_some(last))
    });
    let last = last.await.unwrap();
    let is_there = last["region"].as_str() == region && last["share"] == share;
    assert!(is_there, "{what}: {last}");
    let agrees = |it: &serde_json::Value| it["state"] == "in-force" && it["revision"] == 1;
    scene.until_reported("all agree", agrees).await;
    // In shadow it had no share, but decided beside the old revision.
    until("no gateway has the new revision", DEADLINE, async || {
        for gateway in &scene.gateways {
            let candidate = "tidegate_traffic_revision{stage=\"candidate\"}";
            if metric(gateway, candidate).await > 0.0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_leader_or_the_primary_a_rollout_ends_in_each_of_its_stages() {
    let row = in_each_stage(Length::Short).await;
    println!("{row}");
    row.verdict();
}
