//! Promotions and late replicas: whose rows count.

use std::pin::pin;
use std::time::Duration;

use tidegate::testkit::{DelayProxy, GatewayProcess, PostgresServer, until};
use tidegate_rollout::SavedPolicy;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::kit::{EU, LOCAL, Leader, Scene, TO_US, US, in_force, metric};
use super::restarts::text;
use crate::world::{DEADLINE, client};

/// A line to a server.
async fn line(to: &PostgresServer) -> DelayProxy {
    DelayProxy::start(to.address()).await.unwrap()
}

/// Two replicas, of which the first is eu-west-1's, and a gateway in each region that reaches the primary
/// over a line; revisions 1 and 2 are stored and the first is in force.
async fn scene_with_a_line() -> (Scene, DelayProxy) {
    let mut scene = Scene::prepared(2).await;
    let line = line(&scene.cluster.primary).await;
    let url = scene.cluster.primary.url_at(line.address());
    for region in [EU, US] {
        let command = scene.command(region, "").env("DATABASE_URL", &url);
        scene.start_gateway(command).await;
    }
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    scene.cluster.wait_for_replicas().await.unwrap();
    (scene, line)
}

/// How often a rollout of a revision has been taken over.
fn moves(gateway: &GatewayProcess, revision: u32) -> usize {
    let taken_over = format!("\"revision\":{revision},\"rollout\":");
    gateway.log().matches(&taken_over).count()
}

#[tokio::test]
async fn after_a_promotion_that_has_lost_the_newest_rollout_all_go_back_to_what_has_survived() {
    let (mut scene, line) = scene_with_a_line().await;
    scene.cluster.replicas[1].cut_stream().await.unwrap();
    scene.put_in_force("2").await;
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.promote_replica(1).await.unwrap();
    line.set_target(scene.cluster.primary.address());
    scene.until_revision("1", 2 * DEADLINE).await;
    let agrees = |it: &serde_json::Value| it["state"] == "in-force" && it["revision"] == 1;
    scene.until_reported("all agree", agrees).await;
    for gateway in &scene.gateways {
        let lost = "a promotion has lost rollouts";
        gateway.wait_for_log(lost).await.unwrap();
        let series = "tidegate_traffic_rollouts_total{outcome=\"lost\"}";
        assert_eq!(metric(gateway, series).await, 1.0, "{}", gateway.log());
    }
    scene.put_in_force("2").await;
}

/// Waits until a gateway's metric and its JSON say whether it can place what it reads.
async fn until_unplaced(gateway: &GatewayProcess, is_unplaced: bool) {
    let url = gateway.admin_url("/admin/traffic-policy");
    until("it says so", DEADLINE, async || {
        let unplaced = metric(gateway, "tidegate_traffic_unplaced").await;
        let asked = client().get(&url).header("accept", "application/json");
        let policy: serde_json::Value = asked.send().await?.json().await?;
        let says_so = policy["unplaced"] == is_unplaced && (unplaced == 1.0) == is_unplaced;
        Ok(says_so.then_some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{is_unplaced}: {error:#}\n{}", gateway.log()));
}

/// A role that sees where replicas are, and not where timelines branched.
const ROLE: &str = "
    create role gateway login password 'keep-me-out-of-logs' in role pg_read_all_stats;
    grant usage on schema tidegate to gateway;
    grant select on all tables in schema tidegate to gateway;
    grant insert, update, delete on tidegate.traffic_gateway to gateway";

#[tokio::test]
async fn without_the_right_to_read_files_a_lost_revision_is_left_and_its_number_can_be_given_again()
{
    let mut scene = Scene::prepared(2).await;
    scene.cluster.primary.execute(ROLE).await.unwrap();
    let line = line(&scene.cluster.primary).await;
    let url = scene.cluster.primary.url_at(line.address());
    // One gateway runs all the time, the other one is away during the failover.
    let names = ["kept", "restarted"];
    for name in names {
        std::fs::create_dir(scene.folder.path().join(name)).unwrap();
    }
    let state_dir = |scene: &Scene, name: &str| scene.folder.path().join(name);
    let command = |scene: &Scene, name: &str| {
        let state_dir = state_dir(scene, name);
        let more = format!("[fleet]\nstate_dir = \"{}\"\n", state_dir.display());
        let local = scene.cluster.replicas[0].url();
        scene
            .command(EU, &more)
            .env("DATABASE_URL", url.replace("tidegate:", "gateway:"))
            .env(
                "DATABASE_READ_REPLICA_URL",
                local.replace("tidegate:", "gateway:"),
            )
    };
    scene.push(LOCAL).await;
    scene.cluster.wait_for_replicas().await.unwrap();
    for name in names {
        let command = command(&scene, name);
        scene.start_gateway(command).await;
    }
    scene.put_in_force("1").await;
    scene.cluster.wait_for_replicas().await.unwrap();

    // The gateways' replica is cut first: it can follow the other one.
    for replica in &scene.cluster.replicas {
        replica.cut_stream().await.unwrap();
    }
    assert_eq!(scene.push(TO_US).await, "2");
    scene.put_in_force("2").await;
    let file = state_dir(&scene, "restarted").join("traffic-policy.json");
    until("the lost revision is saved", DEADLINE, async || {
        let read = SavedPolicy::read(&std::fs::read_to_string(&file)?, "default")?;
        Ok((read.revision == 2).then_some(()))
    })
    .await
    .unwrap();
    drop(scene.gateways.pop());
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.promote_replica(1).await.unwrap();
    let replica = &scene.cluster.replicas[0];
    replica.stream_from(&scene.cluster.primary).await.unwrap();
    let follows = "(select received_tli > 1 from pg_stat_wal_receiver)";
    replica.wait_until(follows).await.unwrap();
    // What the replica shows is not followed before the new primary answers.
    let unknown = "the policy store is read on a replica whose timeline is unknown";
    let kept = &scene.gateways[0];
    kept.wait_for_log(unknown).await.unwrap();
    until_unplaced(kept, true).await;
    assert_eq!(in_force(kept).await, "2");
    line.set_target(scene.cluster.primary.address());
    scene.until_revision("1", 2 * DEADLINE).await;
    until_unplaced(&scene.gateways[0], false).await;

    let again = format!("# again\n{TO_US}");
    assert_eq!(scene.push(&again).await, "2");
    let command = command(&scene, "restarted");
    scene.start_gateway(command).await;
    scene.until_revision("1", 2 * DEADLINE).await;
    scene.put_in_force("2").await;
    for gateway in &scene.gateways {
        assert_eq!(text(gateway).await, again);
        let changed = "tidegate_traffic_revision_refused_total{reason=\"changed\"}";
        assert_eq!(metric(gateway, changed).await, 0.0, "{}", gateway.log());
    }
}

#[tokio::test]
async fn after_a_promotion_the_rows_of_a_replica_that_follows_the_new_primary_count() {
    let (mut scene, _to_the_dead_primary) = scene_with_a_line().await;
    let dead = scene.cluster.primary.address().port().to_string();
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.promote_replica(1).await.unwrap();
    let replica = &scene.cluster.replicas[0];
    let source = replica.value("show primary_conninfo").await.unwrap();
    let new = scene.cluster.primary.address().port().to_string();
    let source = source.unwrap().replace(&dead, &new);
    replica.set("primary_conninfo", &source).await.unwrap();
    // No gateway reaches the new primary, and only the first one has a replica.
    scene.roll_out_by_hand("2").await;
    scene.follows(&scene.gateways[0], "2", 2 * DEADLINE).await;
    assert_eq!(in_force(&scene.gateways[1]).await, "1");
    let timelines = "select timeline_id > 1 from pg_control_checkpoint()";
    scene.cluster.primary.execute("checkpoint").await.unwrap();
    let newer = scene.cluster.primary.value(timelines).await.unwrap();
    assert_eq!(newer.as_deref(), Some("t"), "it was a promotion");
}

#[tokio::test]
async fn a_replica_that_is_an_hour_late_moves_nothing_before_and_after_a_promotion() {
    let (mut scene, to_primary) = scene_with_a_line().await;
    scene.gateways.truncate(1);
    let late = &scene.cluster.replicas[0];
    let near = line(late).await;
    let command = scene
        .command(EU, "")
        .env(
            "DATABASE_URL",
            scene.cluster.primary.url_at(to_primary.address()),
        )
        .env("DATABASE_READ_REPLICA_URL", late.url_at(near.address()));
    late.set("recovery_min_apply_delay", "1h").await.unwrap();
    scene.gateways.clear();
    scene.start_gateway(command).await;
    scene.follows(&scene.gateways[0], "1", DEADLINE).await;
    // The replica counts as current until it is ten seconds late; then the primary is asked.
    scene.put_in_force("2").await;

    // The other replica is promoted. This gateway sees nothing but the late one.
    to_primary.cut(true);
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.promote_replica(1).await.unwrap();
    let turns = near.turns();
    until("it is asked again and again", DEADLINE, async || {
        Ok((near.turns() > turns + 20).then_some(()))
    })
    .await
    .unwrap();
    scene.follows(&scene.gateways[0], "2", DEADLINE).await;

    to_primary.set_target(scene.cluster.primary.address());
    to_primary.cut(false);
    scene.push(&format!("# again\n{LOCAL}")).await;
    scene.put_in_force("3").await;
    let gateway = &scene.gateways[0];
    let taken_over = [1, 2, 3].map(|revision| moves(gateway, revision));
    assert_eq!(taken_over, [1, 1, 1], "{}", gateway.log());
    assert!(!gateway.log().contains("has lost"), "{}", gateway.log());
}

#[tokio::test]
async fn a_leader_whose_connection_is_reset_again_and_again_goes_on_where_it_was() {
    // Fewer than the rollout takes time for: six stages, each looked at every 250 ms at most.
    const RESETS: usize = 5;
    let scene = Scene::start("").await;
    scene.two_revisions().await;
    let line = line(&scene.cluster.primary).await;
    let url = scene.cluster.primary.url_at(line.address());
    let arguments = [
        "2",
        "--bake",
        "100ms",
        "--blast-radius",
        "100%",
        "--canary",
        EU,
    ];
    let mut ended = pin!(Leader::start_at(&url, &arguments).ended());
    until("the rollout has begun", DEADLINE, async || {
        let open = "select count(*) from tidegate.traffic_rollout where revision = 2";
        let open = scene.cluster.primary.value(open).await?;
        Ok((open.as_deref() == Some("1")).then_some(()))
    })
    .await
    .unwrap();
    // Some of the connections are reset while they are made, and some in the middle of a statement.
    for reset in 1..=RESETS {
        let pause = Duration::from_millis(fastrand::u64(50..500));
        let early = timeout(pause, ended.as_mut()).await;
        assert!(early.is_err(), "before reset {reset}: {early:?}");
        line.cut(true);
        until("the line is cut", DEADLINE, async || {
            Ok(TcpStream::connect(line.address()).await.err())
        })
        .await
        .unwrap();
        line.cut(false);
    }
    let ended = ended.await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let entered: Vec<serde_json::Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let entered: Vec<_> = entered
        .iter()
        .filter(|it| it["state"] == "entered")
        .map(|it| (it["region"].clone(), it["share"].clone()))
        .collect();
    let mut once = entered.clone();
    once.dedup();
    assert_eq!(entered, once);
    let rollouts = "select count(*) from tidegate.traffic_rollout where revision = 2";
    let rollouts = scene.cluster.primary.value(rollouts).await.unwrap();
    assert_eq!(rollouts.as_deref(), Some("1"));
    scene.until_revision("2", DEADLINE).await;
}
