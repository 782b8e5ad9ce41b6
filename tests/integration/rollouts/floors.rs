//! A floor holds from the moment its revision is in force, on every gateway, seen or not.

use nix::sys::signal::Signal;
use tidegate::testkit::until;
use tidegate_rollout::SavedPolicy;

use super::kit::{EU, TO_US, US};
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
