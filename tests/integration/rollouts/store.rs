//! Revisions are stored once, reach every gateway, and go back; how soon is a drill.

use serde_json::Value;

use super::kit::{LOCAL, Scene, TO_US};
use crate::world::{DEADLINE, client};

#[tokio::test]
async fn a_revision_reaches_every_gateway_and_a_rollback_takes_it_back() {
    let scene = Scene::start("").await;
    assert_eq!(scene.push(LOCAL).await, "1");
    assert_eq!(scene.push(TO_US).await, "2");
    assert_eq!(
        scene.push(TO_US).await,
        "2",
        "an unchanged text keeps its number"
    );
    assert_eq!(
        scene.served_by(0, "/app/x").await,
        "near",
        "nothing is in force yet"
    );
    let quick = ["--bake", "1ms", "--blast-radius", "100%"];
    let out = scene.done(&[&["rollout", "1"], &quick[..]].concat()).await;
    assert!(out.contains("done"), "{out}");
    scene.until_revision("1", DEADLINE).await;
    scene.done(&[&["rollout", "2"], &quick[..]].concat()).await;
    scene.until_revision("2", DEADLINE).await;
    assert_eq!(scene.served_by(0, "/app/x").await, "far");

    assert_eq!(scene.done(&["rollback"]).await, "revision 1 is in force");
    scene.until_revision("1", DEADLINE).await;
    assert_eq!(scene.served_by(0, "/app/x").await, "near");
    let one_further = scene.done(&["rollback"]).await;
    assert_eq!(one_further, "the built-in policy is in force");
    scene.until_revision("0", DEADLINE).await;
    let nothing = scene.policy(&["rollback"]).await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    let forward = scene.policy(&["rollback", "--to", "2"]).await;
    assert_eq!(forward.code, Some(2), "{forward:?}");
    assert!(forward.told.contains("rollout 2"), "{forward:?}");
}

#[tokio::test]
async fn what_is_in_force_is_shown_listed_and_compared() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let list = scene.policy(&["list"]).await.out;
    let lines: Vec<_> = list.lines().collect();
    assert!(
        lines[0].starts_with("       2") && lines[1].starts_with("*      1"),
        "{list}"
    );
    assert!(lines[0].contains("ada"), "{list}");
    assert_eq!(scene.policy(&["show", "--text", "1"]).await.out, LOCAL);
    let shown = scene.policy(&["show", "2"]).await;
    assert!(shown.out.contains("us-east-1"), "{shown:?}");
    let same = scene.policy(&["diff", "active", "1"]).await;
    assert_eq!((same.code, same.out.as_str()), (Some(0), ""));
    let differs = scene.policy(&["diff", "active", "2"]).await;
    assert_eq!(differs.code, Some(1), "{differs:?}");
    assert!(
        differs.out.contains("+ ") && differs.out.contains("- "),
        "{differs:?}"
    );

    let url = scene.gateways[0].admin_url("/admin/traffic-policy");
    let answer = client()
        .get(url)
        .header("Accept", "application/json")
        .send()
        .await;
    let entry: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(
        (&entry["revision"], &entry["language"]),
        (&1.into(), &1.into())
    );
    assert_eq!(entry["region"], "eu-west-1");
    let in_force = |it: &Value| it["state"] == "in-force" && it["revision"] == 1;
    scene
        .until_reported("both report revision 1", in_force)
        .await;
}

#[tokio::test]
async fn what_cannot_be_done_ends_with_code_2_and_says_what_would_be_right() {
    let scene = Scene::start("").await;
    let refused = async |arguments: &[&str], expected: &str| {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.told.contains(expected), "{arguments:?}: {ended:?}");
    };
    refused(
        &["rollout", "1"],
        "there is no revision 1: there are none yet",
    )
    .await;
    refused(&["rollback"], "nothing was in force before").await;
    refused(&["abort"], "no rollout is under way").await;
    refused(&["pause"], "`tidegate policy rollout REV` begins one").await;
    refused(&["diff", "active", "1"], "there is no revision 1").await;
    refused(&["rollout", "x"], "expected a number up to 2147483647").await;
    refused(&["show", "99999999999"], "expected a number").await;
    let failing = LOCAL.to_owned()
        + "test \"it goes to us\" {\n  given in eu-west-1\n  expect us-east-1\n}\n";
    let file = scene.file("failing.policy", &failing);
    refused(&["push", &file], "it goes to us").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    refused(&["rollback", "--to", "1"], "than the built-in policy").await;
    // Nothing was rolled out: the built-in policy is in force.
    let differing = scene.policy(&["diff", "active", "2"]).await;
    assert_eq!(differing.code, Some(1), "{differing:?}");
    assert!(differing.out.contains("+ "), "{differing:?}");
    scene.put_in_force("2").await;
    refused(&["rollout", "1"], "revision 1 is below 2").await;
    refused(&["rollout", "9"], "the newest is 2").await;
    refused(&["rollback", "--to", "9"], "there is no revision 9").await;
    refused(&["key", &file], "name another file").await;

    let nowhere =
        tidegate::testkit::GatewayCommand::new(crate::world::BINARY, "policy").arg("status");
    let output = nowhere.output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("DATABASE_URL"), "{told}");

    scene
        .cluster
        .primary
        .execute("create role reader login")
        .await
        .unwrap();
    let url = scene.cluster.primary.url();
    let (_, place) = url.split_once('@').unwrap();
    let url = format!("postgres://reader@{place}");
    let command = scene
        .policy_command(&["push", &file.replace("failing", "traffic")])
        .env("DATABASE_URL", url);
    let output = command.output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("the role needs USAGE on the schema tidegate"),
        "{told}"
    );
}

#[tokio::test]
async fn the_database_refuses_changes_of_what_was_stored_and_a_second_open_rollout() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    let refused = async |sql: &str, expected: &str| {
        let error = scene.cluster.primary.execute(sql).await.unwrap_err();
        let told = format!("{error:#}");
        assert!(told.contains(expected), "{sql}: {told}");
    };
    for sql in [
        "update tidegate.traffic_revision set note = 'x'",
        "delete from tidegate.traffic_revision",
        "truncate tidegate.traffic_revision",
        "delete from tidegate.traffic_rollout",
        "truncate tidegate.traffic_rollout",
    ] {
        refused(sql, "append-only").await;
    }
    refused(
        "update tidegate.traffic_rollout set reason = 'x'",
        "has ended",
    )
    .await;
    let open = "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by) \
        values ('rollout', 1, 0, '{eu-west-1}', 'x', 'ada')";
    scene.cluster.primary.execute(open).await.unwrap();
    refused(open, "traffic_rollout_open").await;
    let changed = "update tidegate.traffic_rollout set regions = '{}' where outcome is null";
    refused(changed, "do not change").await;
}

#[tokio::test]
async fn an_open_rollout_whose_leader_is_gone_for_15_s_has_expired_and_hinders_nothing() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    let open = "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, renewed_at) \
        values ('rollout', 1, 0, '{eu-west-1}', 'x', 'ada', now() - interval '16 s')";
    scene.cluster.primary.execute(open).await.unwrap();
    let status = scene.status().await;
    assert_eq!(
        (&status["last"]["outcome"], &status["open"]),
        (&"expired".into(), &Value::Null)
    );
    scene.cluster.primary.execute(open).await.unwrap();
    let quick = ["rollout", "1", "--bake", "1ms", "--blast-radius", "100%"];
    scene.done(&quick).await;
    scene.until_revision("1", DEADLINE).await;
}
