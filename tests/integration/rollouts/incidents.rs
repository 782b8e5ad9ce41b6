//! Outages of others that shaped the policy store, as tests. A lock that makes all gateways wait is in
//! `safety`; a stale plan that overwrites a newer one also in the unit tests of `tidegate_rollout`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tidegate::testkit::{DelayProxy, free_port, until};

use super::kit::{EU, LOCAL, Leader, Scene, TO_US, US, in_force, metric};
use crate::fleet::{certificates, sign, wait_for_state};
use crate::world::{DEADLINE, TOKEN_SECRET};

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

/// Gives both regions' gateways certificates that are valid for so long.
fn renew(folder: &Path, valid: Duration) {
    for region in [EU, US] {
        let uri = format!("tidegate://region/{region}");
        sign(folder, region, &[&uri], SystemTime::now() + valid);
    }
}

/// A gateway in each region, as a fleet whose certificates are in a folder; returns the lines between them.
async fn start_fleet(scene: &mut Scene, folder: &Path) -> [DelayProxy; 2] {
    certificates(folder, &["--regions", &format!("{EU},{US}")]).await;
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let line = |port: u16| DelayProxy::start(SocketAddr::from(([127, 0, 0, 1], port)));
    let lines = [line(ports[0]).await.unwrap(), line(ports[1]).await.unwrap()];
    for (own, region) in [EU, US].into_iter().enumerate() {
        let (other, line) = ([US, EU][own], lines[1 - own].address());
        let peers =
            format!("[fleet]\npeers = [{{ region = \"{other}\", address = \"{line}\" }}]\n");
        let file = |name: &str| folder.join(name);
        let command = scene
            .command(region, &peers)
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("FLEET_ADDR", format!("127.0.0.1:{}", ports[own]))
            .env("FLEET_CERT", file(&format!("{region}.crt")))
            .env("FLEET_KEY", file(&format!("{region}.key")))
            .env("FLEET_CA", file("ca.crt"));
        scene.start_gateway(command).await;
    }
    lines
}

#[tokio::test]
async fn certificates_that_all_expire_at_once_leave_each_region_alone_and_the_policy_in_force() {
    let mut scene = Scene::prepared(1).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = start_fleet(&mut scene, folder.path()).await;
    scene.push(TO_US).await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    let [eu, us] = [&scene.gateways[0], &scene.gateways[1]];
    wait_for_state(eu, US, "well").await;
    wait_for_state(us, EU, "well").await;
    assert_eq!(scene.served_by(0, "/app/x").await, "far");

    let leader = Leader::start(&scene, &["2", "--bake", "60s", "--blast-radius", "100%"]);
    let loaded = |it: &serde_json::Value| it["state"] == "loaded";
    scene.until_reported("both have loaded it", loaded).await;
    renew(folder.path(), Duration::from_secs(4));
    for gateway in [eu, us] {
        until("it has expired", DEADLINE, async || {
            let left = metric(gateway, "tidegate_fleet_certificate_expires_seconds").await;
            // A certificate is valid to the end of its last second.
            Ok((left < -1.0).then_some(()))
        })
        .await
        .unwrap();
    }
    // Open connections outlive their certificates by up to an hour; these break, and no other is accepted.
    lines.iter().for_each(|line| line.cut(true));
    wait_for_state(eu, US, "unreachable").await;
    wait_for_state(us, EU, "unreachable").await;
    let dialled = lines.each_ref().map(DelayProxy::connections);
    lines.iter().for_each(|line| line.cut(false));
    until("they dial in vain", DEADLINE, async || {
        let more = |(line, before): (&DelayProxy, usize)| line.connections() > before + 2;
        Ok(lines.iter().zip(dialled).all(more).then_some(()))
    })
    .await
    .unwrap();
    wait_for_state(eu, US, "unreachable").await;
    wait_for_state(us, EU, "unreachable").await;
    for request in 0..20 {
        let path = format!("/app/{request}");
        assert_eq!(scene.served_by(0, &path).await, "near");
        assert_eq!(scene.served_by(1, &path).await, "far");
    }
    assert_eq!(in_force(eu).await, "1");
    assert_eq!(in_force(us).await, "1");
    // Its leader and the store have no part in the certificates.
    scene.until_reported("both still load it", loaded).await;

    renew(folder.path(), Duration::from_secs(86_400));
    wait_for_state(eu, US, "well").await;
    wait_for_state(us, EU, "well").await;
    assert_eq!(scene.served_by(0, "/app/x").await, "far");
    scene.done(&["abort"]).await;
    assert_eq!(leader.ended().await.code, Some(5));
    scene.until_revision("1", DEADLINE).await;
}
