//! What a gateway does not take over, and what it goes on with.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use tidegate::testkit::{GatewayCommand, GatewayProcess, until};

use super::kit::{EU, LOCAL, Scene, TO_US, in_force, metric};
use crate::world::{BINARY, DEADLINE, client, wait_ready};

/// Writes rows as nothing but a superuser without the triggers can.
async fn by_hand(scene: &Scene, sql: &str) {
    let sql = format!("set session_replication_role = replica; {sql}");
    scene.cluster.primary.execute(&sql).await.unwrap();
}

/// Waits until every gateway has refused a revision for a reason, counted and reported it.
pub(crate) async fn until_refused(scene: &Scene, reason: &str, kept: &str) {
    let series = format!("tidegate_traffic_revision_refused_total{{reason=\"{reason}\"}}");
    for gateway in &scene.gateways {
        until(&series, DEADLINE, async || {
            Ok((metric(gateway, &series).await >= 1.0).then_some(()))
        })
        .await
        .unwrap();
    }
    let what = format!("both report {reason}");
    scene
        .until_reported(&what, |it| it["refused"] == reason)
        .await;
    for gateway in &scene.gateways {
        assert_eq!(in_force(gateway).await, kept, "{reason}");
    }
}

/// A scene whose gateways trust one key, which has signed revision 1; revision 2 is signed too. Returns the key's file
/// and the gateways' configuration as well.
pub(crate) async fn signed() -> (Scene, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem").display().to_string();
    let output = GatewayCommand::new(BINARY, "policy")
        .arg("key")
        .arg(&key)
        .output()
        .await
        .unwrap();
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = String::from_utf8(output.stdout).unwrap();
    let more = format!(
        "[fleet]\nname = \"shop\"\ntrusted_keys = [\"{}\"]\n",
        public.trim()
    );
    let scene = Scene::start(&more).await;
    let key_in = scene.folder.path().join("key.pem");
    std::fs::rename(&key, &key_in).unwrap();
    let key = key_in.display().to_string();
    for text in [LOCAL, TO_US] {
        let file = scene.file("signed.policy", text);
        scene
            .done(&["push", &file, "--sign", &key, "--fleet", "shop"])
            .await;
    }
    scene.put_in_force("1").await;
    (scene, key, more)
}

#[tokio::test]
async fn with_trusted_keys_only_what_they_have_signed_counts() {
    let (scene, ..) = signed().await;
    let text = TO_US.replace("everything", "all");
    let unsigned = scene.push(&text).await;
    let ended = scene.policy(&["rollout", &unsigned, "--bake", "1ms"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.told.contains("unsigned"), "{ended:?}");
    scene.until_revision("1", DEADLINE).await;

    let other = scene.folder.path().join("other.pem").display().to_string();
    scene.done(&["key", &other]).await;
    let file = scene.file("other.policy", &text);
    let by_other = scene
        .done(&["push", &file, "--sign", &other, "--fleet", "shop"])
        .await;
    let ended = scene.policy(&["rollout", &by_other, "--bake", "1ms"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.told.contains("signature"), "{ended:?}");
    scene.until_revision("1", DEADLINE).await;

    // A signed row of last year, inserted as the newest.
    by_hand(
        &scene,
        "insert into tidegate.traffic_revision (revision, body, sha256, language, floor, signature, author) \
         select 9, body, sha256, language, floor, signature, 'mallory' \
         from tidegate.traffic_revision where revision = 2",
    )
    .await;
    scene.roll_out_by_hand("9").await;
    until_refused(&scene, "signature", "1").await;
}

#[tokio::test]
async fn a_rollback_to_an_unsigned_revision_is_refused_where_gateways_take_over_only_signed_ones() {
    let (scene, key, _) = signed().await;
    assert_eq!(scene.push(&TO_US.replace("everything", "all")).await, "3");
    scene.roll_out_by_hand("3").await;
    until_refused(&scene, "unsigned", "1").await;
    let file = scene.file("fourth.policy", &LOCAL.replace("everything", "all"));
    let push = ["push", &file, "--sign", &key, "--fleet", "shop"];
    assert_eq!(scene.done(&push).await, "4");
    scene.put_in_force("4").await;
    for arguments in [&["rollback"][..], &["rollback", "--to", "3"]] {
        let ended = scene.policy(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        let expected = "revision 3 is not signed";
        assert!(ended.told.contains(expected), "{arguments:?}: {ended:?}");
    }
    scene.until_revision("4", DEADLINE).await;
    let back = scene.done(&["rollback", "--to", "1"]).await;
    assert_eq!(back, "revision 1 is in force");
}

#[tokio::test]
async fn revisions_below_a_signed_floor_are_void_from_then_on() {
    let (scene, key, _) = signed().await;
    let file = scene.file("floor.policy", &TO_US.replace("everything", "all"));
    let third = scene
        .done(&[
            "push", &file, "--sign", &key, "--fleet", "shop", "--floor", "3",
        ])
        .await;
    assert_eq!(third, "3");
    scene.put_in_force("3").await;
    scene.roll_out_by_hand("2").await;
    until_refused(&scene, "floor", "3").await;
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_changes_nothing_and_is_counted_and_reported() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let changed =
        "update tidegate.traffic_revision set body = body || '# changed' where revision = 1";
    by_hand(&scene, changed).await;
    until_refused(&scene, "digest", "1").await;
    let whole = "update tidegate.traffic_revision \
        set sha256 = encode(sha256(convert_to(body, 'UTF8')), 'hex') where revision = 1";
    by_hand(&scene, whole).await;
    until_refused(&scene, "changed", "1").await;
    // What was pushed before is not affected.
    assert_eq!(scene.served_by(0, "/app/x").await, "near");
}

#[tokio::test]
async fn a_revision_of_a_newer_language_is_refused_and_reported_and_not_rolled_out() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    by_hand(
        &scene,
        "update tidegate.traffic_revision set language = 2 where revision = 2",
    )
    .await;
    let ended = scene.policy(&["rollout", "2"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.told.contains("reads version 1 of the language"),
        "{ended:?}"
    );
    scene.roll_out_by_hand("2").await;
    until_refused(&scene, "language", "1").await;
}

#[tokio::test]
async fn a_gateway_that_starts_without_a_database_goes_on_with_its_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let more = format!("[fleet]\nstate_dir = \"{}\"\n", folder.path().display());
    let mut scene = Scene::start(&more).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let file = folder.path().join("traffic-policy.json");
    until("the state file is there", DEADLINE, async || {
        Ok(file.exists().then_some(()))
    })
    .await
    .unwrap();
    scene.gateways.clear();
    let alone = |more: &str| {
        let command = scene.command(EU, more);
        let nowhere = "postgres://app@127.0.0.1:1/app";
        command
            .env("DATABASE_URL", nowhere)
            .env("DATABASE_READ_REPLICA_URL", nowhere)
    };
    let gateway = alone(&more).start().await.unwrap();
    scene.follows(&gateway, "1", DEADLINE).await;
    let answer = client().get(gateway.url("/app/x")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "far");
    drop(gateway);

    // Of another fleet; garbage; and a directory that is not there.
    let gateway = alone(&format!("{more}name = \"other\"\n"))
        .start()
        .await
        .unwrap();
    gateway.wait_for_log("it is of the fleet").await.unwrap();
    assert_eq!(in_force(&gateway).await, "0");
    drop(gateway);
    std::fs::write(&file, "garbage").unwrap();
    let gateway = alone(&more).start().await.unwrap();
    gateway
        .wait_for_log("the state file is ignored")
        .await
        .unwrap();
    assert_eq!(in_force(&gateway).await, "0");
    let answer = client().get(gateway.url("/app/x")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "near");
    drop(gateway);
    // Nobody can write there; it is known at the start, not when the file would be needed.
    for unwritable in ["/nowhere/at/all", "/proc"] {
        let more = format!("[fleet]\nstate_dir = \"{unwritable}\"\n");
        let gateway = alone(&more).start().await.unwrap();
        gateway
            .wait_for_log("the state file cannot be written")
            .await
            .unwrap();
        let failed = "tidegate_traffic_state_file_total{outcome=\"failed\"}";
        assert_eq!(metric(&gateway, failed).await, 1.0, "{}", gateway.log());
    }
    let unwritable = "[fleet]\nstate_dir = \"/proc\"\n";
    let gateway = scene.command(EU, unwritable).start().await.unwrap();
    scene.follows(&gateway, "1", DEADLINE).await;
}

#[tokio::test]
async fn a_gateway_with_a_policy_file_is_pinned_until_the_file_is_taken_away() {
    let mut scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    let file = scene.file("own.policy", TO_US);
    let pinned = scene.command(EU, &format!("traffic_policy = \"{file}\"\n"));
    let pinned = pinned.start().await.unwrap();
    wait_ready(&client(), &pinned).await;
    scene.gateways[0] = pinned;
    let is_there = |it: &serde_json::Value| {
        it["region"] != EU || it["state"] != "in-force" || it["age_s"].as_f64() > Some(1.0)
    };
    scene
        .until_reported("the pinned gateway reports", is_there)
        .await;
    until("it reports that it is pinned", DEADLINE, async || {
        let status = scene.status().await;
        let gateways = status["gateways"].as_array().unwrap();
        Ok(gateways
            .iter()
            .any(|it| it["state"] == "pinned")
            .then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(scene.served_by(0, "/app/x").await, "far");
}

#[tokio::test]
async fn a_lock_on_the_stores_tables_neither_stops_requests_nor_makes_a_node_unreachable() {
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let losses = |gateway: &GatewayProcess| gateway.log().matches("unreachable").count();
    let known = losses(&scene.gateways[0]);
    let holder = scene.cluster.primary.client().await.unwrap();
    let lock = "begin; lock table tidegate.traffic_revision, tidegate.traffic_rollout, \
        tidegate.traffic_gateway in access exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    for gateway in &scene.gateways {
        assert_eq!(in_force(gateway).await, "1");
        let ready = client()
            .get(gateway.admin_url("/readyz"))
            .send()
            .await
            .unwrap();
        assert_eq!(ready.status(), 200, "{}", gateway.log());
        assert_eq!(losses(gateway), known, "{}", gateway.log());
    }
    assert_eq!(scene.served_by(0, "/app/x").await, "near");
    holder.batch_execute("rollback").await.unwrap();
    scene.put_in_force("2").await;
}

#[tokio::test]
async fn a_key_that_is_taken_off_the_list_counts_no_more_at_the_next_rollout() {
    let (scene, ..) = signed().await;
    let (_, other) = tidegate_rollout::SigningKey::generate().unwrap();
    let config = std::fs::read_dir(scene.cluster.workspace().path()).unwrap();
    for file in config
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("trusted_keys = [\"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        std::fs::write(
            &file,
            format!("{before}trusted_keys = [\"{}\"{after}", other.public()),
        )
        .unwrap();
    }
    for gateway in &scene.gateways {
        gateway.signal(Signal::SIGHUP);
        gateway
            .wait_for_log("policies and endpoints were swapped")
            .await
            .unwrap();
        assert_eq!(in_force(gateway).await, "1", "what is in force stays");
    }
    let ended = scene.policy(&["rollout", "2", "--bake", "1ms"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.told.contains("signature"), "{ended:?}");
}
