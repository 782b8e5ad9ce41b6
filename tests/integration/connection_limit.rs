//! A server that takes fewer connections than the pool may have.

use futures_util::future::{join, join_all};
use serde_json::Value;
use tidegate::testkit::{Cluster, GatewayProcess, PostgresServer, until};

use crate::pool::{lease, node};
use crate::world::{DEADLINE, World, configured, gateway_of};

const ROLE: &str = "create role limited login; alter role limited connection limit";

/// The slow endpoint is one that cannot share a connection. Waiting is to be seen, not shedding,
/// however busy the machine is.
const FILE: &str = r#"
[server]
request_deadline = "28s"
[pool]
acquire_timeout = "25s"
[[endpoint]]
method = "GET"
path = "/nap"
sql = "select pg_sleep(0.02)::text as slept"
[[endpoint]]
method = "POST"
path = "/notes"
sql = "insert into notes values (:body.text) returning text"
status = 201
"#;

fn url_as_limited(server: &PostgresServer) -> String {
    format!("postgres://limited@{}/postgres", server.address())
}

async fn cluster(connections: u32) -> Cluster {
    let cluster = Cluster::start(0).await.unwrap();
    let sql = format!(
        "{ROLE} {connections}; create table notes (text text); grant all on notes to limited"
    );
    cluster.primary.execute(&sql).await.unwrap();
    cluster
}

async fn world(connections: u32) -> World {
    let cluster = cluster(connections).await;
    let gateway = gateway_of(&cluster).env("DATABASE_URL", url_as_limited(&cluster.primary));
    let gateway = configured(&cluster, gateway, FILE);
    World::over(cluster, gateway).await
}

impl World {
    /// Sends fifty reads and fifty writes at the same time, and returns the statuses of all.
    async fn burst(&self) -> Vec<u16> {
        let answers = join_all((0..50).map(async |_| {
            let read = self.get("/nap").await.status().as_u16();
            let written = self.post_json("/notes", r#"{"text":"x"}"#).await;
            [read, written.status().as_u16()]
        }));
        answers.await.concat()
    }
}

/// The line that warns of the limit, once it is there.
async fn warning(gateway: &GatewayProcess) -> Value {
    let line = gateway.wait_for_log("role_connection_limit").await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    line.get("fields").unwrap_or(&line).clone()
}

#[tokio::test]
async fn requests_wait_for_a_connection_that_the_server_takes() {
    // One is the monitor's.
    let cluster = cluster(2).await;
    let node = node(&url_as_limited(&cluster.primary)).await;
    let first = lease(&node).await.unwrap();
    let refused = async {
        until("the second waits", DEADLINE, async || {
            Ok((node.connections().waiting == 1).then_some(()))
        })
        .await
        .unwrap();
        first.settle();
    };
    let (second, ()) = join(lease(&node), refused).await;
    second.unwrap().settle();
}

#[tokio::test]
async fn a_role_with_three_connections_serves_a_burst_and_the_limit_is_named() {
    let world = world(3).await;
    let statuses = world.burst().await;
    let served = |status: &&u16| [200, 201].contains(*status);
    assert_eq!(statuses.iter().filter(served).count(), 100, "{statuses:?}");
    let warning = warning(&world.gateway).await;
    assert_eq!(warning["role_connection_limit"], "3");
    let reason = warning["reason"].as_str().unwrap();
    assert!(reason.contains("role \"limited\""), "{reason}");
    // Also the catalogue is seen, on the third.
    world.proven("primary").await;
    assert_eq!(world.burst().await.len(), 100);
}

/// Whether the health check says that nothing can be served; none if it fails for other reasons.
async fn is_shut_out(world: &World) -> Option<bool> {
    let report: Value = world.get("/health/edge").await.json().await.ok()?;
    match report["status"].as_str()? {
        "healthy" => Some(false),
        _ => (report["checks"]["connections"]["ok"] == false).then_some(true),
    }
}

#[tokio::test]
async fn a_gateway_whose_monitor_has_the_only_connection_is_not_healthy() {
    let world = world(10).await;
    let limit = "alter role limited connection limit 1";
    world.cluster.primary.execute(limit).await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'limited' \
               and query !~ '^select standby'";
    world.cluster.primary.execute(end).await.unwrap();
    until("it says so", DEADLINE, async || {
        Ok((is_shut_out(&world).await == Some(true)).then_some(()))
    })
    .await
    .unwrap();
    let line = world.gateway.wait_for_log("nothing can be served").await;
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(line.get("fields").unwrap_or(&line)["connections"], 0);
    let raise = "alter role limited connection limit 10";
    world.cluster.primary.execute(raise).await.unwrap();
    until("it is healthy", DEADLINE, async || {
        Ok((is_shut_out(&world).await == Some(false)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_only_connection_is_left_to_the_monitor() {
    let world = world(10).await;
    world.burst().await;
    let limit = "alter role limited connection limit 1";
    world.cluster.primary.execute(limit).await.unwrap();
    // One of the pool stays.
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'limited' \
               and pid <> (select pid from pg_stat_activity where usename = 'limited' \
               and query !~ '^select standby' order by query ~ '(sleep|notes)' desc limit 1)";
    world.cluster.primary.execute(end).await.unwrap();
    let monitors = "select count(*) from pg_stat_activity where usename = 'limited' \
                    and query ~ '^select standby'";
    until("the monitor has it", DEADLINE, async || {
        let has_it = world.cluster.primary.value(monitors).await?.unwrap() == "1";
        Ok((has_it && is_shut_out(&world).await == Some(true)).then_some(()))
    })
    .await
    .unwrap();
    let line = world.gateway.wait_for_log("nothing can be served").await;
    line.unwrap();
    let raise = "alter role limited connection limit 10";
    world.cluster.primary.execute(raise).await.unwrap();
    until("it is healthy", DEADLINE, async || {
        Ok((is_shut_out(&world).await == Some(false)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_pool_grows_again_once_the_limit_is_raised() {
    let world = world(3).await;
    world.burst().await;
    warning(&world.gateway).await;
    let raise = "alter role limited connection limit 10";
    world.cluster.primary.execute(raise).await.unwrap();
    until("the pool has grown", DEADLINE, async || {
        world.burst().await;
        let sql = "select count(*) from pg_stat_activity where usename = 'limited'";
        let open = world.cluster.primary.value(sql).await?.unwrap();
        Ok((open == "10").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_monitor_gets_a_connection_back_that_the_pool_has_grown_into() {
    let world = world(5).await;
    world.burst().await;
    // The catalogue's and the monitor's connection go, and what the burst needs is opened in their place.
    let mut burst = true;
    for _ in 0..3 {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'limited' \
                   and query !~ '(nap|sleep|notes)'";
        world.cluster.primary.execute(end).await.unwrap();
        burst &= world.burst().await.len() == 100;
    }
    assert!(burst);
    until("all is served", DEADLINE, async || {
        let statuses = world.burst().await;
        Ok(statuses.iter().all(|it| *it < 300).then_some(()))
    })
    .await
    .unwrap();
}
