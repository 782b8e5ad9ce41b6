//! What removes stored answers: an operator, and new tables.

use reqwest::{Method, Response};
use serde_json::Value;

use super::{FILE, Gate, SCHEMA, begin, held, said, word, world};
use crate::world::{World, configured, gateway_of, header, problem, reload};

async fn send(world: &World, method: Method, query: &str) -> Response {
    let url = world
        .gateway
        .admin_url(&format!("/admin/cache/purge{query}"));
    world.client.request(method, url).send().await.unwrap()
}

async fn purge(world: &World, query: &str) -> Value {
    let response = send(world, Method::POST, query).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn a_purge_forgets_the_paths_below_a_prefix_and_no_others() {
    let world = world("").await;
    let stored = ["/fresh/1", "/fresh/1?a=1", "/fresh/2", "/short/1"];
    for path in stored {
        assert_eq!(said(&world.get(path).await), "fwd=miss; stored", "{path}");
    }
    world.change(1, "newer").await;
    assert_eq!(word(world.get("/fresh/1").await).await, "word 1");
    assert_eq!(purge(&world, "?prefix=/fresh/1").await["purged"], 2);
    let renewed = world.get("/fresh/1").await;
    assert_eq!(said(&renewed), "fwd=miss; stored");
    assert_eq!(word(renewed).await, "newer");
    assert_eq!(said(&world.get("/fresh/2").await), "hit");
    assert_eq!(purge(&world, "?prefix=%2Fnothing").await["purged"], 0);
    assert_eq!(purge(&world, "?prefix=/").await["purged"], 3);
    world
        .metric_turns("tidegate_cache_bytes", |bytes| bytes == 0.0)
        .await;
}

#[tokio::test]
async fn what_was_being_fetched_during_a_purge_is_not_kept() {
    let world = world("").await;
    let replica = &world.cluster.replicas[0];
    let gate = Gate::shut(replica).await;
    let before = begin(&world.client, world.gateway.url("/fresh/3"));
    held(replica, 1).await;
    assert_eq!(purge(&world, "?prefix=/fresh/").await["purged"], 0);
    let after = begin(&world.client, world.gateway.url("/fresh/3"));
    held(replica, 2).await;
    drop(gate);
    assert_eq!(said(&before.await.unwrap()), "fwd=miss");
    assert_eq!(said(&after.await.unwrap()), "fwd=miss; stored");
    assert_eq!(said(&world.get("/fresh/3").await), "hit");
    assert_eq!(world.asked(3), 2);
}

#[tokio::test]
async fn a_purge_that_makes_no_sense_is_refused() {
    let world = world("[cache]\nbytes_max = 0").await;
    for query in [
        "",
        "?",
        "?prefix",
        "?path=/fresh/",
        "?prefix=/&all=1",
        "?prefix=/&prefix=/",
    ] {
        let response = send(&world, Method::POST, query).await;
        assert_eq!(response.status(), 400, "{query}");
        assert_eq!(
            header(&response, "content-type"),
            "application/problem+json"
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["request_id"].as_str().unwrap().len(), 36);
        assert!(!body["detail"].as_str().unwrap().is_empty());
    }
    for query in [
        "?prefix=fresh",
        "?prefix=/fresh//",
        "?prefix=/fresh/../x",
        "?prefix=/%2520",
    ] {
        let response = send(&world, Method::POST, query).await;
        assert_eq!(response.status(), 400, "{query}");
    }
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let response = send(&world, method, "?prefix=/").await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "allow")),
            (405, "POST")
        );
    }
    assert_eq!(
        purge(&world, "?prefix=/").await["purged"],
        0,
        "it is turned off"
    );
    let public = world.request(Method::POST, "/admin/cache/purge?prefix=/");
    problem(public.send().await.unwrap(), 404, "not-found").await;
}

#[tokio::test]
async fn a_reload_serves_nothing_that_the_old_tables_answered() {
    let cluster = tidegate::testkit::Cluster::start(1).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let file = cluster.workspace().path().join("reloaded.toml");
    std::fs::write(&file, FILE).unwrap();
    let gateway = configured(&cluster, gateway_of(&cluster), "");
    let gateway = gateway.env("TIDEGATE_CONFIG", &file);
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    assert_eq!(said(&world.get("/fresh/1").await), "fwd=miss; stored");
    assert_eq!(said(&world.get("/fresh/1").await), "hit");
    let renewed = FILE.replace(" word,", " 'another' as word,");
    reload(&world.gateway, &file, &renewed).await;
    let renewed = world.get("/fresh/1").await;
    assert_eq!(said(&renewed), "fwd=miss; stored");
    assert_eq!(word(renewed).await, "another");
    world
        .metric_turns("tidegate_cache_entries", |entries| entries == 1.0)
        .await;
}
