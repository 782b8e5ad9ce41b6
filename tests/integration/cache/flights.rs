//! Concurrent misses of one key: one query, whatever happens to the request that made it.

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tidegate::testkit::Cluster;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{FILE, Gate, SCHEMA, asked, begin, held, said, word, world};
use crate::world::{DEADLINE, World, configured, gateway_of};

const CROWD: u32 = 1_000;

/// Waits until a number of requests wait for a fetch that another one leads.
async fn following(world: &World, requests: u32) {
    let requests = f64::from(requests);
    world
        .metric_turns("tidegate_cache_waiting", |waiting| waiting == requests)
        .await;
}

#[tokio::test]
async fn a_thousand_concurrent_misses_make_one_query() {
    let world = world("").await;
    let replica = &world.cluster.replicas[0];
    let gate = Gate::shut(replica).await;
    let crowd = Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(DEADLINE);
    let crowd = crowd.build().unwrap();
    let url = world.gateway.url("/fresh/1");
    let requests: Vec<_> = (0..CROWD).map(|_| begin(&crowd, url.clone())).collect();
    following(&world, CROWD - 1).await;
    held(replica, 1).await;
    drop(gate);
    let mut collapsed = 0;
    for response in join_all(requests).await {
        let response = response.unwrap();
        collapsed += u32::from(said(&response) == "fwd=miss; stored; collapsed");
        assert_eq!(word(response).await, "word 1");
    }
    assert_eq!(asked(replica, 1) + asked(&world.cluster.primary, 1), 1);
    assert_eq!(collapsed, CROWD - 1);
    following(&world, 0).await;
}

#[tokio::test]
async fn a_leader_whose_client_leaves_still_brings_the_answer() {
    let world = world("").await;
    let replica = &world.cluster.replicas[0];
    let gate = Gate::shut(replica).await;
    let mut leader = TcpStream::connect(world.gateway.listen()).await.unwrap();
    let request = b"GET /fresh/2 HTTP/1.1\r\nHost: gateway\r\n\r\n";
    leader.write_all(request).await.unwrap();
    held(replica, 1).await;
    let follower = begin(&world.client, world.gateway.url("/fresh/2"));
    following(&world, 1).await;
    drop(leader);
    world.gateway.wait_for_log("\"status\":499").await.unwrap();
    held(replica, 1).await;
    drop(gate);
    assert_eq!(word(follower.await.unwrap()).await, "word 2");
    assert_eq!(said(&world.get("/fresh/2").await), "hit");
    assert_eq!(asked(replica, 2), 1);
}

#[tokio::test]
async fn a_leader_that_fails_fails_nobody_else() {
    let cluster = Cluster::start(0).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    let gateway = configured(&cluster, gateway_of(&cluster), FILE);
    let world = World::over(cluster, gateway).await;
    let primary = &world.cluster.primary;
    let gate = Gate::shut(primary).await;
    let leader = begin(&world.client, world.gateway.url("/fresh/3"));
    held(primary, 1).await;
    let followers: Vec<_> = (0..20)
        .map(|_| begin(&world.client, world.gateway.url("/fresh/3")))
        .collect();
    following(&world, 20).await;
    let end = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'";
    primary.execute(end).await.unwrap();
    drop(gate);
    let statuses = async |requests| {
        let responses: Vec<Result<reqwest::Response, _>> = join_all::<Vec<_>>(requests).await;
        let statuses = responses
            .into_iter()
            .map(|response| response.unwrap().status());
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(statuses(vec![leader]).await, [StatusCode::GATEWAY_TIMEOUT]);
    assert_eq!(statuses(followers).await, [StatusCode::OK; 20]);
    assert_eq!(
        asked(primary, 3),
        2,
        "the leader's query, and one for all others"
    );
}

#[tokio::test]
async fn an_absence_is_shared_by_those_who_ask_at_once() {
    let world = world("").await;
    let replica = &world.cluster.replicas[0];
    let gate = Gate::shut(replica).await;
    let requests: Vec<_> = (0..20)
        .map(|_| begin(&world.client, world.gateway.url("/fresh/none/4")))
        .collect();
    following(&world, 19).await;
    held(replica, 1).await;
    drop(gate);
    for response in join_all(requests).await {
        assert_eq!(response.unwrap().status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(asked(replica, 4), 1);
}
