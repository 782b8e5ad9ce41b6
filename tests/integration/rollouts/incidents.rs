//! Outages of others that shaped the policy store, as tests. A lock that makes all gateways wait is in
//! `safety`; a stale plan that overwrites a newer one also in the unit tests of `tidegate_rollout`.

use super::kit::{LOCAL, Scene, TO_US, in_force};

#[tokio::test]
async fn a_generated_file_of_twice_its_usual_size_is_refused_before_it_is_stored() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    let comment = "# generated\n".repeat(30_000);
    let file = scene.file("large.policy", &(comment.clone() + LOCAL));
    let ended = scene.policy(&["push", &file]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.told.contains("256 KiB"), "{ended:?}");
    let by_hand = format!(
        "insert into tidegate.traffic_revision (revision, body, sha256, language, author) \
         values (2, '{comment}', '', 1, 'a generator')"
    );
    let refused = scene.cluster.primary.execute(&by_hand).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("traffic_body_is_bounded"),
        "{refused:#}"
    );
}

#[tokio::test]
async fn a_policy_with_blank_fields_is_refused_by_the_command_and_by_every_gateway() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    for blank in [
        "region eu-west-1\npolicy everything {\n  prefer\n}\n",
        "region eu-west-1\npolicy {\n  prefer eu-west-1\n}\n",
        "region eu-west-1\npolicy everything {\n}\n",
        "\n",
    ] {
        let file = scene.file("blank.policy", blank);
        let ended = scene.policy(&["push", &file]).await;
        assert_eq!(ended.code, Some(2), "{blank}: {ended:?}");
    }
    let blank = "insert into tidegate.traffic_revision (revision, body, sha256, language, author) \
        select 2, body, encode(sha256(convert_to(body, 'UTF8')), 'hex'), 1, 'x' \
        from (select 'region eu-west-1 policy everything { prefer }' as body) text";
    scene.cluster.primary.execute(blank).await.unwrap();
    scene.roll_out_by_hand("2").await;
    scene
        .until_reported("both refuse it", |it| it["refused"] == "invalid")
        .await;
    for gateway in &scene.gateways {
        assert_eq!(in_force(gateway).await, "1");
    }
}

#[tokio::test]
async fn a_stale_plan_does_not_overwrite_a_newer_one() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    scene.put_in_force("2").await;
    // Whoever still works with the old one is told so.
    let ended = scene.policy(&["rollout", "1"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    // A row that arrives late has a smaller number.
    let late = "insert into tidegate.traffic_rollout \
        (rollout, kind, revision, base, regions, leader, by, outcome, ended_at) \
        overriding system value values (0, 'rollout', 1, 0, '{}', '', 'late', 'done', now())";
    scene.cluster.primary.execute(late).await.unwrap();
    // Once a newer one is in force, every gateway has read the late row too.
    scene.push(&format!("# again\n{LOCAL}")).await;
    scene.put_in_force("3").await;
    for gateway in &scene.gateways {
        let log = gateway.log();
        let moves = log.matches("\"revision\":1,\"rollout\":").count();
        assert_eq!(moves, 1, "{log}");
    }
}
