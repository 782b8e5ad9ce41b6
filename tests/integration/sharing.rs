//! Quick reads share connections, which has no visible effect except speed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tidegate::testkit::{Cluster, until};
use tokio::time::{Instant, timeout};

use crate::world::{DEADLINE, World, configured, gateway_of, header};

/// Eight connections, four of which may be shared. Once the endpoint has proved quick, the third
/// consecutive answer certainly comes from a shared one.
const NAPS: &str = r#"
[pool]
connections_max = 8
[[policy]]
path = "/nap/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/nap/{seconds}"
sql = "select pg_backend_pid() as pid, pg_sleep(:path.seconds::text::float8)::text as slept"
single = true
"#;

/// Long after the reads that share a connection with a slow one have left it.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn world() -> World {
    let cluster = Cluster::start(0).await.unwrap();
    let gateway = configured(&cluster, gateway_of(&cluster), NAPS);
    let world = World::over(cluster, gateway).await;
    for _ in 0..3 {
        world.nap("0").await;
    }
    world
}

impl World {
    /// Makes the server sleep, and returns which of its processes did.
    async fn nap(&self, seconds: &str) -> i64 {
        let response = self.get(&format!("/nap/{seconds}")).await;
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["pid"].as_i64().unwrap()
    }

    /// Forty naps at the same time.
    async fn naps(&self, seconds: &str) -> BTreeSet<i64> {
        let naps = join_all((0..40).map(|_| self.nap(seconds))).await;
        naps.into_iter().collect()
    }
}

#[tokio::test]
async fn quick_reads_at_the_same_time_share_half_of_the_connections() {
    let world = world().await;
    // On a busy machine a read may be mistaken for a slow one.
    let shared = async || Ok((world.naps("0.001").await.len() <= 4).then_some(()));
    until("four connections serve all", DEADLINE, shared)
        .await
        .unwrap();
}

#[tokio::test]
async fn reads_that_are_slow_share_nothing() {
    let world = world().await;
    for _ in 0..3 {
        world.nap("0.1").await;
    }
    let start = Instant::now();
    let pids = world.naps("0.05").await;
    assert!(pids.len() > 4, "{pids:?} in {:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_read_holds_nobody_up_who_shares_its_connection() {
    let world = world().await;
    let slow = async {
        let start = Instant::now();
        world.nap("4").await;
        start.elapsed()
    };
    let others = async {
        let start = Instant::now();
        for _ in 0..5 {
            world.naps("0").await;
        }
        start.elapsed()
    };
    let (slow, others) = tokio::join!(slow, others);
    assert!(others < AT_ONCE, "{others:?}");
    // It was not restarted on another connection either.
    assert!(slow < Duration::from_secs(4) + AT_ONCE, "{slow:?}");
}

#[tokio::test]
async fn reads_that_are_sent_together_each_get_a_token_that_covers_them() {
    let world = world().await;
    let read = async || {
        let response = world.get_at("/nap/0", "strong").await;
        assert_eq!(response.status(), StatusCode::OK);
        header(&response, "x-consistency-token").to_owned()
    };
    let mut known = BTreeSet::new();
    for round in 0..5 {
        let sql = format!("create table written_{round} ()");
        world.cluster.primary.execute(&sql).await.unwrap();
        let tokens = join_all((0..40).map(|_| read())).await;
        assert!(tokens.iter().all(|token| !token.is_empty()));
        // One that was answered with an older position would not cover what was written before.
        assert!(tokens.iter().all(|token| !known.contains(token)));
        known.extend(tokens);
    }
}

#[tokio::test]
async fn a_read_that_was_given_up_takes_nobody_along_and_is_ended() {
    let world = world().await;
    let given_up = timeout(Duration::from_millis(50), world.nap("60"));
    let others = timeout(AT_ONCE, world.naps("0.001"));
    let (given_up, others) = tokio::join!(given_up, others);
    given_up.unwrap_err();
    others.expect("the others are answered at once");
    timeout(AT_ONCE, world.naps("0"))
        .await
        .expect("those after it as well");
    let ended = "not exists (select from pg_stat_activity \
         where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid())";
    world.cluster.primary.wait_until(ended).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_fails_none_of_the_reads_on_it() {
    let world = world().await;
    for _ in 0..5 {
        let shared = world.nap("0").await;
        let end = format!("select pg_terminate_backend({shared})");
        let ended = AtomicBool::new(false);
        let end = async {
            world.cluster.primary.execute(&end).await.unwrap();
            ended.store(true, Ordering::Relaxed);
        };
        // These assert that each is answered.
        let naps = async {
            while !ended.load(Ordering::Relaxed) {
                world.naps("0").await;
            }
        };
        tokio::join!(end, naps);
    }
}

/// As when a proxy in between is restarted: every connection is lost, but the node is well.
#[tokio::test]
async fn reads_that_are_alone_on_connections_that_break_are_answered_all_the_same() {
    let world = world().await;
    for _ in 0..3 {
        world.nap("0.1").await;
    }
    let naps = "from pg_stat_activity where state = 'active' \
        and query like '%pg_sleep%' and pid <> pg_backend_pid()";
    let end = async {
        let eight = format!("count(*) = 8 {naps}");
        world.cluster.primary.wait_until(&eight).await.unwrap();
        let end = format!("select count(pg_terminate_backend(pid)) {naps}");
        world.cluster.primary.execute(&end).await.unwrap();
    };
    let eight = join_all((0..8).map(|_| world.nap("1")));
    tokio::join!(end, eight);
    let topology = world.gateway.admin_url("/admin/topology");
    let topology = world.client.get(topology).send().await.unwrap();
    let topology: Value = topology.json().await.unwrap();
    let node = &topology["nodes"][0];
    assert_eq!(
        (&node["breaker"], &node["standing"]),
        (&json!("closed"), &json!("trusted"))
    );
}
