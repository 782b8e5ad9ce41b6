//! A floor holds from the moment its revision is in force, on every gateway, seen or not.

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegate::testkit::{DelayProxy, until};
use tidegate_rollout::SavedPolicy;

use super::kit::{EU, LOCAL, Leader, Scene, TO_US, Traffic, US, in_force, metric};
use super::restarts::text;
use super::safety::{signed, until_refused};
use crate::world::DEADLINE;

#[tokio::test]
async fn a_gateway_that_has_missed_the_floor_goes_to_the_revision_that_has_it_and_not_below() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = |region: &str| format!("state_dir = \"{}/{region}\"\n", state.path().display());
    for region in [EU, US] {
        std::fs::create_dir(state.path().join(region)).unwrap();
    }
    let (mut scene, key, fleet) = signed().await;
    let file = scene.file("floor.policy", &TO_US.replace("everything", "all"));
    let push = [
        "push", &file, "--sign", &key, "--fleet", "shop", "--floor", "3",
    ];
    assert_eq!(scene.done(&push).await, "3");

    // A candidate that was taken back voids nothing.
    let open = "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, renewed_at) \
        values ('rollout', 3, 1, '{eu-west-1}', 'x', 'ada', now() + interval '1 min')";
    scene.cluster.primary.execute(open).await.unwrap();
    let loaded = |it: &serde_json::Value| it["state"] == "loaded" && it["revision"] == 3;
    scene.until_reported("both have loaded it", loaded).await;
    scene.done(&["abort"]).await;
    scene.put_in_force("2").await;

    scene.gateways[0].signal(Signal::SIGSTOP);
    scene.roll_out_by_hand("3").await;
    scene.follows(&scene.gateways[1], "3", DEADLINE).await;
    scene.roll_out_by_hand("2").await;
    scene.gateways[0].signal(Signal::SIGCONT);
    until_refused(&scene, "floor", "3").await;

    // So does one that starts, and it remembers the floor.
    scene.gateways.clear();
    for region in [EU, US] {
        let command = scene.command(region, &(fleet.clone() + &state_dir(region)));
        scene.start_gateway(command).await;
    }
    scene.until_revision("3", DEADLINE).await;
    let file = state.path().join(EU).join("traffic-policy.json");
    until("the file has the floor", DEADLINE, async || {
        let read = SavedPolicy::read(&std::fs::read_to_string(&file)?, "shop")?;
        Ok(((read.revision, read.floor_accepted) == (3, 3)).then_some(()))
    })
    .await
    .unwrap();
}

/// Two replicas, of which the second will be promoted, and a gateway in each region that trusts one key and reaches the
/// primary over a line. Returns the key's file as well.
async fn signed_with_a_line() -> (Scene, DelayProxy, String) {
    let mut scene = Scene::prepared(2).await;
    let key = scene.folder.path().join("key.pem").display().to_string();
    let public = scene.done(&["key", &key]).await;
    let more = format!("[fleet]\nname = \"shop\"\ntrusted_keys = [\"{public}\"]\n");
    let line = DelayProxy::start(scene.cluster.primary.address());
    let line = line.await.unwrap();
    let url = scene.cluster.primary.url_at(line.address());
    for region in [EU, US] {
        let command = scene.command(region, &more).env("DATABASE_URL", &url);
        scene.start_gateway(command).await;
    }
    (scene, line, key)
}

/// Stores a signed text; returns its number.
async fn push_signed(scene: &Scene, key: &str, text: &str, floor: &str) -> String {
    let file = scene.file("signed.policy", text);
    let push = [
        "push", &file, "--sign", key, "--fleet", "shop", "--floor", floor,
    ];
    scene.done(&push).await
}

#[tokio::test]
async fn a_number_that_is_given_again_after_a_loss_is_in_force_once_it_was_rolled_out_and_not_before()
 {
    let (mut scene, line, key) = signed_with_a_line().await;
    assert_eq!(push_signed(&scene, &key, LOCAL, "0").await, "1");
    scene.put_in_force("1").await;
    scene.cluster.wait_for_replicas().await.unwrap();
    scene.cluster.replicas[1].cut_stream().await.unwrap();
    assert_eq!(push_signed(&scene, &key, TO_US, "2").await, "2");
    scene.put_in_force("2").await;
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.promote_replica(1).await.unwrap();
    line.set_target(scene.cluster.primary.address());
    let refused = "tidegate_traffic_revision_refused_total{reason=\"floor\"}";
    for gateway in &scene.gateways {
        until(
            "what has survived is below the floor",
            2 * DEADLINE,
            async || Ok((metric(gateway, refused).await >= 1.0).then_some(())),
        )
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", gateway.log()));
    }
    until_refused(&scene, "floor", "2").await;

    // Nothing is in force by a push, though the gateways have taken the text over as a candidate.
    let again = format!("# again\n{LOCAL}");
    assert_eq!(push_signed(&scene, &key, &again, "0").await, "2");
    let open = "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, renewed_at) \
        values ('rollout', 2, 1, '{eu-west-1}', 'x', 'ada', now() + interval '1 min')";
    scene.cluster.primary.execute(open).await.unwrap();
    let loaded = |it: &Value| it["state"] == "loaded" && it["revision"] == 2;
    scene.until_reported("both have loaded it", loaded).await;
    for gateway in &scene.gateways {
        assert_eq!(text(gateway).await, TO_US, "{}", gateway.log());
    }
    let ended = "update tidegate.traffic_rollout \
        set outcome = 'aborted', ended_at = now() where outcome is null";
    scene.cluster.primary.execute(ended).await.unwrap();

    // Its rollout compares it with the lost text.
    let _traffic = Traffic::start(&scene);
    let arguments = [
        "2",
        "--bake",
        "500ms",
        "--blast-radius",
        "100%",
        "--judge",
        "errors",
    ];
    let ended = Leader::start(&scene, &arguments).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let last: Value = serde_json::from_str(ended.out.lines().last().unwrap()).unwrap();
    assert!(last["changed"].as_u64() > Some(0), "{ended:?}");
    for gateway in &scene.gateways {
        assert_eq!(text(gateway).await, again, "{}", gateway.log());
    }
}

#[tokio::test]
async fn an_unsigned_row_with_a_floor_voids_nothing_where_a_signed_one_was_in_force() {
    let (scene, ..) = signed().await;
    let row = "insert into tidegate.traffic_revision (revision, body, sha256, language, floor, author) \
        select 3, body, sha256, language, 3, 'mallory' from tidegate.traffic_revision where revision = 2";
    scene.cluster.primary.execute(row).await.unwrap();
    scene.roll_out_by_hand("3").await;
    until_refused(&scene, "unsigned", "1").await;
    let back = scene.done(&["rollback"]).await;
    assert_eq!(back, "revision 1 is in force");
    for gateway in &scene.gateways {
        assert_eq!(in_force(gateway).await, "1");
    }
}
