//! Invalid requests: ambiguous paths, malformed headers.

use reqwest::Method;
use tidegate_model::{Lsn, SystemId, Timeline, TokenKeys, WalPosition};

use crate::world::{TOKEN_SECRET, World, header, jwt, problem};

const TWO_READINGS: [&str; 20] = [
    "/public%2frates",
    "/public%2Frates",
    "/public/%2e%2e%2faccount/balances",
    "//public/rates",
    "/public//rates",
    "/public/rates//",
    "/public/../account/balances",
    "/public/%2e%2e/account/balances",
    "/public/.%2E/account/balances",
    "/./account/balances",
    "/account/./balances",
    "/account/%2e/balances",
    "/account/balances/..",
    "/public/rates%00",
    "/public/rates%0d%0aX-Route-Primary:%20true",
    "/public\\rates",
    "/public%5Crates",
    "/public/rates%",
    "/public/rates%2",
    "/public/%ff",
];

#[tokio::test]
async fn a_path_with_two_readings_is_refused_and_no_spelling_weakens_a_policy() {
    let world = World::start().await;
    let token = jwt("alice").await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let long = format!("/public/{}", "a".repeat(8 * 1024));
    for path in TWO_READINGS.into_iter().chain([long.as_str()]) {
        let answer = world.get_raw(path, &bearer).await;
        assert!(
            answer.is_problem(400, "invalid-path"),
            "{path}: {}",
            answer.head
        );
        assert!(!answer.head.contains("public, max-age"), "{path}");
    }
    // Every spelling that is one path gets that path's policy.
    for path in [
        "/account/balances",
        "/%61ccount/b%61lances",
        "/account/balances?x=/public/rates",
    ] {
        let answer = world.get_raw(path, &bearer).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains("x-route-primary: true"), "{path}");
        assert!(
            answer.head.contains("cache-control: no-store, private"),
            "{path}"
        );
        let stranger = world.get_raw(path, "").await;
        assert!(stranger.is_problem(401, "unauthorized"), "{path}");
    }
    let absolute = format!(
        "GET http://elsewhere/account/balances HTTP/1.1\r\nHost: public\r\nConnection: close\r\n{bearer}\r\n"
    );
    let absolute = world.send_raw(absolute.as_bytes()).await;
    assert_eq!(absolute.status, 200);
    assert!(absolute.head.contains("cache-control: no-store, private"));
    let eventual = world.get_raw("/publi%63/rates", "").await;
    assert!(eventual.head.contains("cache-control: public, max-age=300"));
    for path in [
        "/public/rates/",
        "/account",
        "/publicity",
        "/.well-known/x",
        "/...",
    ] {
        let answer = world.get_raw(path, "").await;
        assert!(
            answer.is_problem(404, "not-found"),
            "{path}: {}",
            answer.head
        );
    }
}

#[tokio::test]
async fn a_consistency_header_that_makes_no_sense_is_refused() {
    let world = World::start().await;
    for field in [
        "linearizable",
        "",
        "strong, strong",
        "\"strong\"",
        "strong;max-staleness=1",
        "bounded",
        "bounded;max-staleness",
        "bounded;max-staleness=-1",
        "bounded;max-staleness=soon",
        "bounded;max-staleness=1.2345",
        "bounded;max-staleness=100000",
        "bounded;max-staleness=1;max-age=1",
    ] {
        let response = world.get_at("/public/rates", field).await;
        assert_eq!(header(&response, "consistency-status"), "eu-west-1");
        assert_eq!(header(&response, "x-consistency-token"), "");
        assert!(!header(&response, "server-timing").is_empty());
        problem(response, 400, "invalid-consistency").await;
    }
    let both = async |first: &str, second: &str| {
        let request = world.request(Method::GET, "/public/rates");
        let request = request
            .header("X-Consistency", first)
            .header("X-Consistency", second);
        request.send().await.unwrap()
    };
    for (first, second) in [("strong", "eventual"), ("strong", "strongest")] {
        problem(both(first, second).await, 400, "invalid-consistency").await;
    }
    for (first, second) in [
        ("strong", "STRONG"),
        ("bounded;max-staleness=2", "Bounded; max-staleness=2.0"),
    ] {
        assert_eq!(both(first, second).await.status(), 200, "{first}, {second}");
    }
}

#[tokio::test]
async fn a_token_is_malformed_or_foreign_but_never_trusted_unseen() {
    let world = World::start().await;
    let name = "X-Consistency-Token";
    let issued = world.get_at("/public/rates", "strong").await;
    let issued = header(&issued, name).to_owned();
    let truncated = &issued[..49];
    for token in [
        "",
        "x",
        truncated,
        &"A".repeat(50),
        &"!".repeat(50),
        &format!("{issued}A"),
    ] {
        let response = world.get_with("/public/rates", name, token).await;
        problem(response, 400, "invalid-token").await;
    }
    let foreign = TokenKeys::parse("another-secret-for-tokens").unwrap();
    let position = WalPosition {
        system: SystemId(7),
        timeline: Timeline(1),
        lsn: Lsn(1),
    };
    let foreign = foreign.sign(&position);
    let two = world
        .request(Method::GET, "/public/rates")
        .header(name, &issued);
    let two = two.header(name, &foreign).send().await.unwrap();
    problem(two, 400, "invalid-token").await;

    // Signed with an unknown key, or with ours for another cluster.
    // The last character holds two bits: one of A, Q, g, w.
    let last = if issued.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{truncated}{last}");
    let elsewhere = TokenKeys::parse(TOKEN_SECRET).unwrap().sign(&position);
    for (token, reason) in [
        (foreign, "token-unverifiable"),
        (forged, "token-unverifiable"),
        (elsewhere, "token-"),
    ] {
        let response = world.get_with("/public/rates", name, &token).await;
        assert_eq!(response.status(), 200);
        let status = header(&response, "consistency-status");
        assert!(status.contains(&format!("; reason={reason}")), "{status}");
        assert_eq!(header(&response, "x-route-primary"), "true");
        assert_eq!(header(&response, "cache-control"), "no-store, private");
        assert_eq!(header(&response, name).len(), 50);
    }
}

#[tokio::test]
async fn a_request_id_is_taken_over_only_when_it_is_plain() {
    let world = World::start().await;
    for path in ["/public/rates", "/nothing"] {
        let kept = world.get_with(path, "X-Request-Id", "order-66.b_1").await;
        assert_eq!(header(&kept, "x-request-id"), "order-66.b_1");
        for hostile in [
            "two words",
            "\"quoted\"",
            "a,b",
            "<script>",
            &"x".repeat(65),
        ] {
            let replaced = world.get_with(path, "X-Request-Id", hostile).await;
            assert_eq!(header(&replaced, "x-request-id").len(), 36, "{hostile}");
        }
    }
    let missing = world
        .get_with("/nothing", "X-Request-Id", "shown-in-the-body")
        .await;
    problem(missing, 404, "not-found").await;
    let line = world
        .gateway
        .wait_for_log("\"request_id\":\"shown-in-the-body\"")
        .await
        .unwrap();
    assert!(line.contains("\"problem\":\"not-found\""), "{line}");
    assert!(!world.gateway.log().contains("<script>"));
}
