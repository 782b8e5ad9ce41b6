//! Commands end in a code that says what is to be done, whatever others have written.

use std::cell::Cell;

use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::kit::{LOCAL, Scene, TO_US, US};
use crate::world::DEADLINE;

const OPEN_AND_LEFT: &str = "insert into tidegate.traffic_rollout \
    (kind, revision, base, regions, leader, by, renewed_at) \
    values ('rollout', 2, 1, '{eu-west-1}', 'x', 'ada', now() - interval '16 s')";

/// Fails unless the newest rollout has ended so.
fn assert_ended(outcome: &str) -> String {
    format!(
        "do $$ begin if (select outcome from tidegate.traffic_rollout order by rollout desc limit 1) \
         is distinct from '{outcome}' then raise exception 'it is not {outcome}'; end if; end $$"
    )
}

#[tokio::test]
async fn an_expiry_is_kept_and_an_open_rollout_goes_on_where_a_command_is_refused() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    let primary = &scene.cluster.primary;
    for command in ["abort", "pause", "rollback"] {
        primary.execute(OPEN_AND_LEFT).await.unwrap();
        let ended = scene.policy(&[command]).await;
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        primary.execute(&assert_ended("expired")).await.unwrap();
    }
    scene.put_in_force("1").await;
    let open = OPEN_AND_LEFT.replace("- interval '16 s'", "+ interval '1 min'");
    primary.execute(&open).await.unwrap();
    for to in ["1", "2"] {
        let ended = scene.policy(&["rollback", "--to", to]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let right = format!("`tidegate policy rollout {to}`");
        assert!(ended.told.contains(&right), "{ended:?}");
    }
    scene.done(&["abort"]).await;
    primary.execute(&assert_ended("aborted")).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hinders_no_command_and_no_gateway() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    let primary = &scene.cluster.primary;
    for (gateway, share, state, at) in [
        ("odd", 0, "dancing", "now()"),
        ("negative", -1, "in-force", "now()"),
        ("infinite", 0, "in-force", "'-infinity'"),
    ] {
        let row = format!(
            "insert into tidegate.traffic_gateway \
             (gateway, region, version, language, rollout, revision, share, state, reported_at) \
             values ('{gateway}', 'eu-west-1', '9', 1, 0, 0, {share}, '{state}', {at})"
        );
        primary.execute(&row).await.unwrap();
    }
    // One that claims more than can be counted, and one whose region is none.
    let most = u64::MAX;
    let claims = format!(
        "insert into tidegate.traffic_gateway \
         (gateway, region, version, language, rollout, revision, share, state, report) \
         select name, region, '9', 1, number, 1, 0, 'pinned', '{{\"decided\":{most},\"changed\":{most},\"exposed\":{most},\
             \"new\":{{\"requests\":{most},\"errors\":{most},\"times\":[[1,{most}],[0,{most}]]}}}}'::jsonb \
         from (values ('a', 'eu-west-1'), ('b', 'eu-west-1'), ('c', e'\\x1b[2J')) as it(name, region), \
         generate_series(1, 1) as number"
    );
    primary.execute(&claims).await.unwrap();
    let quick = ["rollout", "1", "--bake", "1ms", "--blast-radius", "100%"];
    scene.done(&quick).await;
    let status = scene.policy(&["status"]).await;
    assert!(status.out.contains("unknown"), "{status:?}");
    primary
        .execute(
            "delete from tidegate.traffic_gateway where gateway in ('odd', 'negative', 'infinite', 'a', 'b', 'c')",
        )
        .await
        .unwrap();
    // A rollout of a revision that is not there is refused, and the next is followed.
    scene.roll_out_by_hand("7").await;
    let refused = |it: &serde_json::Value| it["refused"] == "invalid" && it["state"] == "refused";
    scene.until_reported("both refuse it", refused).await;
    scene.put_in_force("2").await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_the_documented_rights_suffice_for_a_push() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    let key = scene.folder.path().join("key.pem").display().to_string();
    scene.done(&["key", &key]).await;
    let file = scene.file("us.policy", TO_US);
    for (floor, expected) in [("3", "would be 2"), ("2147483648", "2147483647")] {
        let push = [
            "push", &file, "--sign", &key, "--fleet", "shop", "--floor", floor,
        ];
        let ended = scene.policy(&push).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.told.contains(expected), "{ended:?}");
    }
    let twice = scene
        .policy(&["rollout", "1", "--order", "us-east-1,us-east-1"])
        .await;
    assert_eq!(twice.code, Some(2), "{twice:?}");
    assert!(twice.told.contains("named twice"), "{twice:?}");

    let replica = scene.policy_command(&["push", &file]);
    let replica = replica.env("DATABASE_URL", scene.cluster.replicas[0].url());
    let output = replica.output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("name the primary"), "{told}");

    let rights = "create role pusher login; grant usage on schema tidegate to pusher; \
        grant select on all tables in schema tidegate to pusher; \
        grant insert on tidegate.traffic_revision to pusher";
    scene.cluster.primary.execute(rights).await.unwrap();
    let url = scene.cluster.primary.url();
    let (_, place) = url.split_once('@').unwrap();
    let pusher = scene.policy_command(&["push", &file]);
    let pusher = pusher.env("DATABASE_URL", format!("postgres://pusher@{place}"));
    let output = pusher.output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
}

/// A finished rollout of the second revision whose number somebody has chosen.
async fn finished_as(scene: &Scene, rollout: i64) {
    let row = format!(
        "insert into tidegate.traffic_rollout (rollout, kind, revision, base, regions, leader, by, outcome, ended_at) \
         overriding system value values ({rollout}, 'rollout', 2, 1, '{{}}', '', 'mallory', 'done', now())"
    );
    scene.cluster.primary.execute(&row).await.unwrap();
}

#[tokio::test]
async fn where_a_number_was_written_by_hand_a_command_says_that_no_gateway_would_follow_and_what_mends_it()
 {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    finished_as(&scene, 100).await;
    scene.until_revision("2", DEADLINE).await;
    let refused = async |arguments: &[&str], expected: &str| {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.told.contains(expected), "{ended:?}");
    };
    let mend = "alter table tidegate.traffic_rollout alter rollout restart with 101";
    refused(&["rollback"], mend).await;
    let third = scene.push(&format!("# again\n{LOCAL}")).await;
    refused(&["rollout", &third], mend).await;
    scene.cluster.primary.execute(mend).await.unwrap();
    scene.done(&["rollback"]).await;
    scene.until_revision("1", DEADLINE).await;
    finished_as(&scene, i64::MAX).await;
    scene.until_revision("2", DEADLINE).await;
    refused(&["rollback"], "no number is greater").await;
}

#[tokio::test]
async fn a_rollout_of_what_is_in_force_is_told_of_an_open_one_and_waits_for_the_gateways() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let open = OPEN_AND_LEFT.replace("- interval '16 s'", "+ interval '1 min'");
    scene.cluster.primary.execute(&open).await.unwrap();
    let ended = scene.policy(&["rollout", "1"]).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    scene.done(&["abort"]).await;

    scene.gateways[1].signal(Signal::SIGSTOP);
    scene.roll_out_by_hand("2").await;
    let rollout = scene.policy(&["rollout", "2"]);
    let follow = async {
        scene.follows(&scene.gateways[0], "2", DEADLINE).await;
        scene.gateways[1].signal(Signal::SIGCONT);
    };
    let (ended, ()) = tokio::join!(rollout, follow);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let status = scene.status().await;
    for gateway in status["gateways"].as_array().unwrap() {
        assert_eq!(gateway["revision"], 2, "{status}");
    }
    let line = scene.done(&["rollout", "2", "--json"]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut keys: Vec<_> = line.as_object().unwrap().keys().collect();
    keys.sort();
    let documented = [
        "at", "changed", "decided", "exposed", "new", "old", "reason", "region", "revision",
        "rollout", "share", "stage", "state",
    ];
    assert_eq!(keys, documented, "{line}");
    assert_eq!(line["rollout"], status["in_force"]["rollout"], "{line}");
    assert_eq!(
        (&line["state"], &line["share"]),
        (&"done".into(), &1.0_f64.into())
    );
}

#[tokio::test]
async fn an_abort_waits_for_the_gateways_that_still_have_the_rollout() {
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let open = OPEN_AND_LEFT.replace("- interval '16 s'", "+ interval '1 min'");
    scene.cluster.primary.execute(&open).await.unwrap();
    let loaded = |it: &serde_json::Value| it["state"] == "loaded" && it["revision"] == 2;
    scene.until_reported("both have loaded it", loaded).await;
    scene.gateways[1].signal(Signal::SIGSTOP);
    let is_over = Cell::new(false);
    let abort = async {
        let ended = scene.policy(&["abort"]).await;
        is_over.set(true);
        ended
    };
    let follow = async {
        until("the other gateway has followed", DEADLINE, async || {
            let status = scene.status().await;
            let mut gateways = status["gateways"].as_array().unwrap().iter();
            let has_followed = gateways.any(|it| it["region"] != US && it["state"] == "in-force");
            Ok(has_followed.then_some(()))
        })
        .await
        .unwrap();
        assert!(!is_over.get(), "one gateway has it still");
        scene.gateways[1].signal(Signal::SIGCONT);
    };
    let (ended, ()) = tokio::join!(abort, follow);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let status = scene.status().await;
    for gateway in status["gateways"].as_array().unwrap() {
        assert_eq!(gateway["state"], "in-force", "{status}");
    }
}

/// What a terminal obeys, in all that others may have written.
#[tokio::test]
async fn no_text_of_the_store_reaches_a_terminal_as_more_than_text() {
    let scene = Scene::start("").await;
    let escape = "e'\\x1b]0;x\\x07\\u202eada'";
    let bell = format!(
        "insert into tidegate.traffic_revision (revision, body, sha256, language, author, note) \
             values (1, '{LOCAL}', '', 1, {escape}, {escape}); \
         insert into tidegate.traffic_gateway \
             (gateway, region, version, language, rollout, revision, share, state, refused) \
             values ({escape}, {escape}, '1', 1, 0, 0, 0, 'in-force', {escape}), \
                 ({escape} || '2', 'eu-west-1', {escape}, 1, 0, 0, 0, 'in-force', {escape}); \
         insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, stage, region, renewed_at) \
             values ('rollout', 1, 0, array[{escape}], '', {escape}, 'share', {escape}, now() + interval '1 min')"
    );
    scene.cluster.primary.execute(&bell).await.unwrap();
    for (arguments, code) in [
        (&["status"][..], 0),
        (&["status", "--json"], 0),
        (&["list"], 0),
        (&["list", "--json"], 0),
        (&["rollout", "1"], 2),
        (&["pause"], 0),
        (&["abort"], 0),
        (&["status"], 0),
    ] {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let all = format!("{}{}", ended.out, ended.told);
        let obeyed = all.contains(|it: char| it.is_control() && it != '\n' || it == '\u{202e}');
        assert!(!obeyed, "{arguments:?}: {ended:?}");
    }
}
