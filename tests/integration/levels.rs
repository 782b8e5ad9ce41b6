//! Which node serves which level, and what the answer says of it.

use reqwest::Method;

use crate::world::{World, header};

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
