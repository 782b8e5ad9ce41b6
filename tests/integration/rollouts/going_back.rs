//! A rollback goes back to what was in force, and nothing else; what a command says when another came first.

use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::kit::{EU, LOCAL, Leader, Scene, TO_US, in_force};
use crate::world::DEADLINE;

/// Arguments of a rollout that nothing stops, one region after the other.
const ALL: [&str; 4] = ["--blast-radius", "100%", "--order", "eu-west-1,us-east-1"];

async fn until_last(scene: &Scene, outcome: &str) {
    until(outcome, DEADLINE, async || {
        let status = scene.status().await;
        Ok((status["last"]["outcome"] == outcome).then_some(()))
    })
    .await
    .unwrap();
}

async fn until_at(scene: &Scene, region: &str) {
    until("the rollout is in its region", DEADLINE, async || {
        Ok((scene.status().await["open"]["region"] == region).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_rollback_takes_what_was_in_force_and_is_intact_and_names_it_where_another_is_asked_for()
{
    let scene = Scene::start("").await;
    for text in [LOCAL, TO_US] {
        scene.push(text).await;
        scene.push(&format!("# again\n{text}")).await;
    }
    scene.put_in_force("1").await;
    // It was stopped in its rollout.
    let stopped = "insert into tidegate.traffic_rollout \
        (kind, revision, base, regions, leader, by, outcome, ended_at) \
        values ('rollout', 2, 1, '{}', '', 'ada', 'stopped', now())";
    scene.cluster.primary.execute(stopped).await.unwrap();
    scene.put_in_force("3").await;
    scene.put_in_force("4").await;
    let refused = async |arguments: &[&str], expected: &str| {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.told.contains(expected), "{ended:?}");
        assert_eq!(in_force(&scene.gateways[0]).await, "4");
    };
    refused(&["rollback", "--to", "2"], "revision 2 was never in force").await;
    refused(
        &["rollback", "--to", "2"],
        "rollback --to` takes 3, 1, or 0",
    )
    .await;
    // What gateways would refuse is not put in force by default either.
    let changed = "set session_replication_role = replica; \
        update tidegate.traffic_revision set body = body || '# changed' where revision = 3";
    scene.cluster.primary.execute(changed).await.unwrap();
    refused(&["rollback"], "revision 3 cannot be used").await;
    let floor = "set session_replication_role = replica; \
        update tidegate.traffic_revision set floor = 4 where revision = 4";
    scene.cluster.primary.execute(floor).await.unwrap();
    refused(&["rollback"], "revision 3 is void, below the floor 4").await;
    refused(
        &["rollback", "--to", "1"],
        "`tidegate policy rollback --to 0`",
    )
    .await;
    let back = scene.done(&["rollback", "--to", "0"]).await;
    assert_eq!(back, "the built-in policy is in force");
    let again = scene.policy(&["rollout", "1"]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.told.contains("revision 1 is void"), "{again:?}");
}

#[tokio::test]
async fn a_rollout_that_was_ended_is_told_as_aborted_though_another_has_followed() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let leader = Leader::start(&scene, &[&["2", "--bake", "1s"], &ALL[..]].concat());
    until_at(&scene, EU).await;
    leader.signal(Signal::SIGSTOP);
    scene.done(&["abort"]).await;
    scene.put_in_force("1").await;
    leader.signal(Signal::SIGCONT);
    let ended = leader.ended().await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.told.contains("aborted by ada"), "{ended:?}");
}

#[tokio::test]
async fn a_rollout_waits_for_the_gateways_and_is_told_when_it_was_rolled_back_meanwhile() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let quick = [&["rollout", "2", "--bake", "1ms"], &ALL[..]].concat();
    scene.done(&quick).await;
    for gateway in &scene.gateways {
        assert_eq!(
            in_force(gateway).await,
            "2",
            "it is in force when the command ends"
        );
    }
    scene.push(&format!("# third\n{LOCAL}")).await;
    let order = ["--blast-radius", "100%", "--order", "us-east-1,eu-west-1"];
    let leader = Leader::start(&scene, &[&["3", "--bake", "1s"], &order[..]].concat());
    // From then on the gateway of the first region goes on with what it has.
    until_at(&scene, EU).await;
    scene.gateways[1].signal(Signal::SIGSTOP);
    until_last(&scene, "done").await;
    scene.follows(&scene.gateways[0], "3", DEADLINE).await;
    let rollback = scene.policy_command(&["rollback", "--json"]);
    let back = async {
        let ended = leader.ended().await;
        scene.gateways[1].signal(Signal::SIGCONT);
        ended
    };
    let (back, rollback) = tokio::join!(back, rollback.output());
    assert_eq!(back.code, Some(5), "{back:?}");
    assert!(
        back.told.contains(" has gone back to revision 2"),
        "{back:?}"
    );
    let last = back.out.lines().last().unwrap();
    assert!(last.starts_with("{\"error\":{\"code\":5,"), "{back:?}");
    let rollback = rollback.unwrap();
    assert_eq!(rollback.status.code(), Some(0), "{rollback:?}");
    let said: serde_json::Value = serde_json::from_slice(&rollback.stdout).unwrap();
    assert_eq!(said["in_force"]["revision"], 2);
    scene.until_revision("2", DEADLINE).await;
}
