//! What passes through a tunnel, both ways.

use http::Method;

use super::kit::{FleetScene, entry, serving};
use crate::world::header;

const AWAY: &str = "policy away { prefer us-east-1 | local }\n";

#[tokio::test]
async fn a_request_is_served_by_the_region_that_the_policy_names_and_says_so() {
    let scene = FleetScene::start(2, AWAY).await;
    let response = scene.get("/app/a/../b%20c?q=1&&x=%2F").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "us-east-1");
    let expected = "eu-west-1; fwd=us-east-1; policy=away; reason=named";
    assert_eq!(entry(&response), expected);
    let id = header(&response, "x-request-id").to_owned();
    assert_eq!(response.text().await.unwrap(), "us-east-1");

    let asked = scene.app(1).last();
    assert!(scene.app(0).asked().is_empty());
    assert_eq!(asked.target, "/app/b%20c?q=1&&x=%2F");
    assert_eq!(asked.field("x-request-id"), id);
    let port = scene.gateway(0).listen().port();
    let forwarded = format!("for=127.0.0.1;by=eu-west-1;host=\"127.0.0.1:{port}\";proto=http");
    assert_eq!(asked.field("forwarded"), forwarded);
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(asked.field("x-forwarded-proto"), "http");
    let via = asked.field("via");
    assert!(via.starts_with("1.1 tidegate-eu-west-1-"), "{via}");
    assert!(via.contains(", 2 tidegate-us-east-1-"), "{via}");
    let route = "policy=away, region=us-east-1, proposed=us-east-1, reason=named";
    assert_eq!(asked.field("tidegate-route"), route);
    assert_eq!(asked.field("tidegate-deadline"), "");
    let line = scene.gateway(1).wait_for_log(&id).await.unwrap();
    assert!(line.contains("\"via\":\"eu-west-1\""), "{line}");
    assert!(line.contains("\"region_reason\":\"hop\""), "{line}");
    let answered = "tidegate_tunnel_requests_total{region=\"us-east-1\",outcome=\"answered\"}";
    assert!((scene.metric(answered).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn what_a_client_says_about_hops_is_dropped() {
    let scene = FleetScene::start(2, AWAY).await;
    let request = scene.request(Method::GET, "/app/x");
    let request = request
        .header("tidegate-deadline", "1")
        .header("tidegate-route", "policy=mine")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-consistency-token", "not-a-token");
    // Consistency is checked where the request enters, too.
    assert_eq!(request.send().await.unwrap().status(), 400);
    let request = scene.request(Method::GET, "/app/x");
    let request = request
        .header("tidegate-deadline", "1")
        .header("tidegate-route", "policy=mine")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let asked = scene.app(1).last();
    assert!(asked.field("tidegate-route").starts_with("policy=away"));
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn a_body_of_any_length_passes_both_ways() {
    let echo = |_region| {
        let echo = |body: axum::body::Body| async { body };
        axum::Router::new().fallback(echo)
    };
    let scene = FleetScene::with(2, AWAY, echo).await;
    for length in [0, 1, 60_000, 1_000_000] {
        let body: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
        let request = scene.request(Method::POST, "/app/x").body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(serving(&response), "us-east-1");
        assert_eq!(response.bytes().await.unwrap(), body);
    }
    let request = scene.request(Method::POST, "/app/x");
    let response = request.body(vec![0; 1_100_000]).send().await.unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_path_of_the_gateways_own_calls_is_an_ordinary_one_for_clients() {
    let endpoint = "[[endpoint]]\nmethod = \"*\"\npath = \"/{*rest}\"\n";
    let mut scene = FleetScene::start(2, AWAY).await;
    for at in 0..2 {
        let app = scene.app(at).url();
        scene
            .start_one(at, &format!("{endpoint}upstream = \"{app}\"\n"))
            .await;
    }
    scene.until_all_are(0, "well").await;
    let drain = "/tidegate.fleet.v1.Health/Drain";
    let request = scene.request(Method::POST, drain);
    let request = request.header("content-type", "application/grpc");
    let response = request
        .body(vec![0, 0, 0, 0, 2, 8, 60])
        .send()
        .await
        .unwrap();
    assert_eq!(response.text().await.unwrap(), "us-east-1");
    assert_eq!(scene.app(1).last().target, drain);
    let view = scene.view(1).await;
    assert!(
        view.regions.iter().all(|it| it.drained_for_s == 0),
        "{view:?}"
    );
}
