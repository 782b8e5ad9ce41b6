//! What a client gets when the region that was to serve fails.

use super::kit::{FleetScene, entry, serving};

const AWAY: &str =
    "policy away {\n  prefer us-east-1 | local\n  retry idempotent 1 budget 20%\n}\n";

#[tokio::test]
async fn after_a_kill_the_next_request_is_served_here() {
    let mut scene = FleetScene::start(2, AWAY).await;
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
    scene.kill(1);
    let response = scene.get("/app/x").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "eu-west-1");
    assert_eq!(response.text().await.unwrap(), "eu-west-1");
    scene.start_one(1, "").await;
    scene.until_all_are(0, "well").await;
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
}

#[tokio::test]
async fn a_region_without_an_application_passes_the_request_to_the_next_one() {
    let policy = "policy away { prefer us-east-1 | ap-southeast-1 | local }\n";
    let mut scene = FleetScene::start(3, policy).await;
    // Nothing is heard there any more.
    scene.members[1].app = crate::upstream::kit::App::answering(200, "elsewhere").await;
    let response = scene.get("/app/x").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "ap-southeast-1");
    let expected = "eu-west-1; fwd=ap-southeast-1; policy=away; reason=no-tunnel";
    assert_eq!(entry(&response), expected);
    let moved = "tidegate_tunnel_requests_total{region=\"us-east-1\",outcome=\"moved\"}";
    assert!((scene.metric(moved).await - 1.0).abs() < f64::EPSILON);
}
