//! The promoted server is a replica of the topology; `DATABASE_URL` stays where it was.

use serde_json::{Value, json};
use tidegate::testkit::{Cluster, DelayProxy, Shutdown, until};
use tidegate_model::{Timeline, TokenKeys, TokenParts, WalPosition};

use super::{CONFIG, Failover, RECOVERY_MAX, TOPOLOGY, cluster, count, node, texts, topology_of};
use crate::world::{DEADLINE, TOKEN_SECRET, configured, gateway_of, header, problem, wait_ready};

const AP: (&str, &str) = ("primary", "ap-southeast-1");

#[tokio::test]
async fn a_promoted_replica_takes_the_writes_soon_and_without_a_restart() {
    let mut failover = Failover::with_topology().await;
    failover.cluster.primary.kill().await.unwrap();
    failover.cluster.replicas[1].promote().await.unwrap();
    let (took, written) = failover.write_is_accepted("second").await;
    assert!(took < RECOVERY_MAX, "{took:?}");
    assert_eq!(node(&written), AP);
    assert_eq!(header(&written, "x-route-primary"), "true");

    let read = failover.read("strong").await;
    assert_eq!(node(&read), AP);
    assert_eq!(header(&read, "x-route-primary"), "true");
    assert_eq!(texts(read).await, ["first", "second"]);

    let edge = failover.client.get(failover.gateway.url("/health/edge"));
    let edge: Value = edge.send().await.unwrap().json().await.unwrap();
    let fresh = json!({ "ok": true, "condition": "fresh" });
    assert_eq!(edge["checks"]["primary"], fresh);
    wait_ready(&failover.client, &failover.gateway).await;
    let metrics = failover.metrics().await;
    for series in [
        "tidegate_node_acts_as_primary{node=\"ap-southeast-1\"} 1",
        "tidegate_node_acts_as_primary{node=\"primary\"} 0",
    ] {
        assert!(metrics.contains(series), "{metrics}");
    }
    let seen = failover.gateway.wait_for_log("a promotion was seen").await;
    let seen = seen.unwrap();
    assert!(
        seen.contains("WARN") && seen.contains("ap-southeast-1"),
        "{seen}"
    );
}

#[tokio::test]
async fn a_follower_of_the_promoted_one_serves_what_is_proven() {
    let mut failover = Failover::with_topology().await;
    failover.cluster.primary.kill().await.unwrap();
    let [follower, promoted] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    follower.stream_from(promoted).await.unwrap();
    let (_, written) = failover.write_is_accepted("second").await;
    let token = header(&written, "x-consistency-token");
    let near = "node=replica; node-region=eu-west-1";
    failover.comes_to(token, near).await;
    until("a bounded read is served nearby", DEADLINE, async || {
        let read = failover.read("bounded;max-staleness=2").await;
        let status = header(&read, "consistency-status").to_owned();
        let second = texts(read).await == ["first", "second"];
        Ok((status.contains(near) && second).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_former_primary_that_lives_on_is_never_written_to_once_the_promotion_is_known() {
    let failover = Failover::with_topology().await;
    let promoted = &failover.cluster.replicas[0];
    promoted.promote().await.unwrap();
    let here = ("primary", "eu-west-1");
    until("the promoted one takes the writes", DEADLINE, async || {
        Ok((node(&failover.write("moved").await) == here).then_some(()))
    })
    .await
    .unwrap();
    let (former, mine) = (
        count(&failover.cluster.primary).await,
        count(promoted).await,
    );
    for _ in 0..50 {
        let written = failover.write("more").await;
        assert_eq!((written.status().as_u16(), node(&written)), (201, here));
        assert_eq!(node(&failover.read("strong").await), here);
    }
    assert_eq!(count(&failover.cluster.primary).await, former);
    assert_eq!(count(promoted).await, mine + 50);
}

#[tokio::test]
async fn without_the_promoted_one_there_is_no_way_back_to_the_former_primary() {
    let mut failover = Failover::with_topology().await;
    failover.cluster.replicas[1].promote().await.unwrap();
    until("the promoted one takes the writes", DEADLINE, async || {
        Ok((node(&failover.write("moved").await) == AP).then_some(()))
    })
    .await
    .unwrap();
    failover.cluster.replicas[1].kill().await.unwrap();
    let former = count(&failover.cluster.primary).await;
    until("it is known to be gone", DEADLINE, async || {
        let metrics = failover.metrics().await;
        let gone = r#"tidegate_node_condition{node="ap-southeast-1",condition="unreachable"} 1"#;
        Ok(metrics.contains(gone).then_some(()))
    })
    .await
    .unwrap();
    for _ in 0..20 {
        failover.primary_is_refused().await;
    }
    assert_eq!(count(&failover.cluster.primary).await, former);
    failover.cluster.replicas[1].start().await.unwrap();
    let (_, written) = failover.write_is_accepted("back").await;
    assert_eq!(node(&written), AP);
}

#[tokio::test]
async fn two_that_were_promoted_onto_one_timeline_are_not_written_to_until_the_url_names_one() {
    let cluster = cluster().await;
    let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let url = cluster.primary.url_at(line.address());
    let gateway = topology_of(&cluster).env("DATABASE_URL", url);
    let mut failover = Failover::over(cluster, gateway).await;
    failover.cluster.primary.kill().await.unwrap();
    let [one, two] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    one.promote().await.unwrap();
    two.promote().await.unwrap();
    let told = failover
        .gateway
        .wait_for_log("cannot be distinguished")
        .await;
    assert!(told.as_ref().unwrap().contains("ERROR"), "{told:?}");
    let before = (count(one).await, count(two).await);
    for _ in 0..20 {
        failover.primary_is_refused().await;
    }
    assert_eq!((count(one).await, count(two).await), before);
    line.set_target(two.address());
    failover.write_is_accepted("decided").await;
    assert_eq!(
        (count(one).await, count(two).await),
        (before.0, before.1 + 1)
    );
}

#[tokio::test]
async fn a_server_of_another_cluster_never_takes_over() {
    let cluster = cluster().await;
    let other = Cluster::start(1).await.unwrap();
    other.primary.execute(super::SCHEMA).await.unwrap();
    other.wait_for_replicas().await.unwrap();
    let foreign = &other.replicas[0];
    foreign.promote().await.unwrap();
    let gateway = gateway_of(&cluster).env("AP_REPLICA_URL", foreign.url());
    let gateway = configured(&cluster, gateway, &format!("{TOPOLOGY}{CONFIG}"));
    let mut failover = Failover::over(cluster, gateway).await;
    failover.cluster.primary.kill().await.unwrap();
    failover.gateway.wait_for_log("unreachable").await.unwrap();
    for _ in 0..20 {
        failover.primary_is_refused().await;
    }
    assert_eq!(count(foreign).await, 0);
}

#[tokio::test]
async fn a_former_primary_serves_as_a_replica_when_it_follows_the_promoted_one() {
    let cluster = cluster().await;
    // The nearest node is the one that DATABASE_URL names.
    let gateway = topology_of(&cluster)
        .env("REGION", "us-east-1")
        .env("DATABASE_READ_REPLICA_URL", "");
    let mut failover = Failover::over(cluster, gateway).await;
    assert_eq!(node(&failover.read("eventual").await).0, "primary");
    // Its replicas have everything after an orderly shutdown.
    let Failover { cluster, .. } = &mut failover;
    cluster.primary.stop(Shutdown::Fast).await.unwrap();
    cluster.replicas[1].promote().await.unwrap();
    let promoted = &cluster.replicas[1];
    cluster.primary.start_as_replica_of(promoted).await.unwrap();
    let (_, written) = failover.write_is_accepted("second").await;
    assert_eq!(node(&written), AP);
    let token = header(&written, "x-consistency-token");
    failover
        .comes_to(token, "node=replica; node-region=us-east-1")
        .await;
    let read = failover.session(token).await;
    assert_eq!(header(&read, "x-route-primary"), "");
    assert_eq!(texts(read).await, ["first", "second"]);
    let metrics = failover.metrics().await;
    let series =
        r#"tidegate_decisions_total{level="session",node="primary",reason="token-reached"}"#;
    assert!(
        metrics.contains(series),
        "the node keeps its name: {metrics}"
    );
}

/// A gateway whose role may not read files knows the switch point from the promotion that it
/// observed.
async fn failover_watched_by_a_reader(lost: bool) -> (Failover, String) {
    let cluster = cluster().await;
    let as_reader = |url: String| url.replace("tidegate:", "reader:");
    let gateway = topology_of(&cluster)
        .env("DATABASE_URL", as_reader(cluster.primary.url()))
        .env(
            "DATABASE_READ_REPLICA_URL",
            as_reader(cluster.replicas[0].url()),
        )
        .env("AP_REPLICA_URL", as_reader(cluster.replicas[1].url()));
    let mut failover = Failover::over(cluster, gateway).await;
    if lost {
        for replica in &failover.cluster.replicas {
            replica.cut_stream().await.unwrap();
        }
    }
    let written = failover.write("acknowledged").await;
    let token = header(&written, "x-consistency-token").to_owned();
    if !lost {
        failover.cluster.wait_for_replicas().await.unwrap();
    }
    failover.cluster.primary.kill().await.unwrap();
    let [follower, promoted] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    follower.stream_from(promoted).await.unwrap();
    (failover, token)
}

#[tokio::test]
async fn a_watched_promotion_tells_what_survived_without_reading_files() {
    let (failover, token) = failover_watched_by_a_reader(false).await;
    // Such a role sees no receiver, and a replica's new timeline only after its next restart point.
    let [follower, promoted] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.execute("checkpoint").await.unwrap();
    let checkpointed = promoted.flushed().await.unwrap();
    follower.wait_for_replay(checkpointed).await.unwrap();
    follower.execute("checkpoint").await.unwrap();
    failover
        .comes_to(&token, "node=replica; node-region=eu-west-1")
        .await;
    let read = failover.session(&token).await;
    assert_eq!(texts(read).await, ["first", "acknowledged"]);
}

#[tokio::test]
async fn a_watched_promotion_tells_what_was_lost_without_reading_files() {
    let (failover, token) = failover_watched_by_a_reader(true).await;
    let (_, written) = failover.write_is_accepted("second").await;
    problem(
        failover.session(&token).await,
        409,
        "write-lost-in-failover",
    )
    .await;
    let strong = failover.get("strong").header("X-Consistency-Token", &token);
    problem(strong.send().await.unwrap(), 409, "write-lost-in-failover").await;
    let fine = header(&written, "x-consistency-token");
    let read = failover.session(fine).await;
    assert_eq!(texts(read).await, ["first", "second"]);
}

#[tokio::test]
async fn a_token_of_a_later_timeline_is_not_served_by_an_earlier_one() {
    let failover = Failover::with_topology().await;
    let keys = TokenKeys::parse(TOKEN_SECRET).unwrap();
    let written = failover.write("second").await;
    let known = TokenParts::read(header(&written, "x-consistency-token")).unwrap();
    // Another gateway has seen a promotion that this one has not seen yet.
    let token = keys.sign(&WalPosition {
        timeline: Timeline(known.position.timeline.0 + 1),
        ..known.position
    });
    let with_token = |request: reqwest::RequestBuilder| {
        let request = request.header("X-Consistency-Token", &token);
        async { request.send().await.unwrap() }
    };
    problem(with_token(failover.get("session")).await, 503, "no-node").await;
    problem(with_token(failover.get("strong")).await, 503, "no-primary").await;
    problem(
        with_token(failover.post("refused")).await,
        503,
        "no-primary",
    )
    .await;
    assert_eq!(count(&failover.cluster.primary).await, 2);
    assert_eq!(failover.read("strong").await.status(), 200, "without it");

    failover.cluster.replicas[1].promote().await.unwrap();
    failover
        .comes_to(&token, "node=primary; node-region=ap-southeast-1")
        .await;
}
