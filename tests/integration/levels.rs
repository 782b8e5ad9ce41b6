//! Which node serves which level, and what the answer states about it.

use reqwest::Method;

use crate::world::{World, client, gateway_of, header, migrated_cluster};

#[tokio::test]
async fn an_eventual_read_is_served_by_the_local_replica() {
    let world = World::start().await;
    let response = world.get("/public/rates").await;
    assert_eq!(response.status(), 200);
    let status = header(&response, "consistency-status");
    assert!(
        status.starts_with(
            "eu-west-1; level=eventual; node=replica; node-region=eu-west-1; staleness=0."
        ) && status.ends_with("; reason=fresh"),
        "{status}"
    );
    assert_eq!(header(&response, "x-route-primary"), "");
    assert_eq!(header(&response, "x-consistency-token"), "");
    let cache = "public, max-age=300, stale-while-revalidate=60";
    assert_eq!(header(&response, "cache-control"), cache);
    assert_eq!(
        header(&response, "vary"),
        "X-Consistency, X-Consistency-Token"
    );
    assert!(!header(&response, "x-request-id").is_empty());
    assert!(header(&response, "server-timing").contains("db;dur="));
    let rates: Vec<serde_json::Value> = response.json().await.unwrap();
    assert!(rates.len() > 80);
}

#[tokio::test]
async fn a_strong_read_is_served_by_the_primary_and_never_stored() {
    let world = World::start().await;
    let response = world.get_at("/public/rates", "Strong").await;
    assert_eq!(response.status(), 200);
    let status = header(&response, "consistency-status");
    assert_eq!(
        status,
        "eu-west-1; level=strong; node=primary; staleness=0.000; reason=strong"
    );
    assert_eq!(header(&response, "x-route-primary"), "true");
    assert_eq!(header(&response, "cache-control"), "no-store, private");
    assert_eq!(header(&response, "x-consistency-token").len(), 50);
}

/// An absence has been seen as well: a later read must not show the row again.
#[tokio::test]
async fn an_answer_that_shows_absence_carries_a_token_too() {
    let world = World::start().await;
    for level in ["strong", "session"] {
        let response = world.get_at("/api/v1/rates/EUR/XXX", level).await;
        assert_eq!(response.status(), 404);
        assert_eq!(
            header(&response, "x-consistency-token").len(),
            50,
            "{level}"
        );
        assert_eq!(header(&response, "cache-control"), "no-store, private");
    }
}

#[tokio::test]
async fn a_floor_is_not_lowered_by_a_header() {
    let world = World::start().await;
    let response = world.get_as("alice", "/account/balances").await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-route-primary"), "true");
    let request = world
        .request(Method::GET, "/account/balances")
        .header("X-Consistency", "eventual");
    let jwt = crate::world::jwt("alice").await;
    let response = request.bearer_auth(jwt).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-route-primary"), "true");
}

/// With ten seconds between samples only the waiting request itself can make the monitor take one.
#[tokio::test]
async fn a_session_read_waits_for_its_own_write_and_hurries_the_monitor() {
    let cluster = migrated_cluster(1).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    let slow = "[replication]\nsample_interval = \"10s\"\n[consistency]\nsession_wait = \"5s\"\n";
    std::fs::write(&file, slow).unwrap();
    let gateway = gateway_of(&cluster)
        .env("TIDEGATE_CONFIG", file)
        .start()
        .await
        .unwrap();
    let world = World {
        cluster,
        gateway,
        client: client(),
    };
    world.ready().await;
    for key in ["first", "second"] {
        let body = serde_json::json!({"to": "bob", "currency": "USD", "amount": "1"});
        let written = world.post("alice", "/api/v1/transfers", key, &body).await;
        assert_eq!(written.status(), 201);
        let token = header(&written, "x-consistency-token");
        let read = world
            .request(Method::GET, "/public/fees")
            .header("X-Consistency-Token", token);
        let read = read.send().await.unwrap();
        let status = header(&read, "consistency-status");
        let expected = "level=session; node=replica";
        assert!(
            status.contains(expected) && status.ends_with("reason=waited"),
            "{status}"
        );
    }
}
