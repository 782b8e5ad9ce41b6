//! What a client gets when the region that was to serve fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use tidegate::testkit::until;

use super::kit::{AWAY, FleetScene, REGIONS, entry, named, serving};
use crate::fleet::sign;
use crate::world::{DEADLINE, problem};

#[tokio::test]
async fn after_a_kill_the_next_request_is_served_here() {
    let mut scene = FleetScene::start(2, AWAY).await;
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
    scene.kill(1);
    let response = scene.get("/app/x").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "eu-west-1");
    assert_eq!(response.text().await.unwrap(), "eu-west-1");
    scene.start_one(1).await;
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

/// In TLS 1.3 a gateway whose certificate is refused has finished its handshake by then.
#[tokio::test]
async fn a_region_that_refuses_the_certificate_stays_unreachable_and_gets_no_writes() {
    let mut scene = FleetScene::prepared(2, AWAY, "", named).await;
    scene.lay_lines(|_, _| Duration::ZERO).await;
    let uri = format!("tidegate://region/{}", REGIONS[0]);
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    sign(&scene.file(""), REGIONS[0], &[&uri], now - day);
    for at in [1, 0] {
        scene.start_one(at).await;
    }
    until("it was dialled again and again", DEADLINE, async || {
        let written = scene
            .request(Method::POST, "/app/x")
            .body("x")
            .send()
            .await?;
        assert_eq!(written.status(), 200);
        assert_eq!(serving(&written), REGIONS[0]);
        Ok((scene.lines[&(0, 1)].connections() >= 9).then_some(()))
    })
    .await
    .unwrap();
    let refused = "a peer closed the connection before it answered";
    scene.gateway(0).wait_for_log(refused).await.unwrap();
    let reason = "\"reason\":\"expired\"";
    scene.gateway(1).wait_for_log(reason).await.unwrap();
    let log = scene.gateway(0).log();
    assert!(!log.contains("\"state\":\"well\""), "{log}");
    assert_eq!(scene.view(0).await.regions[1].state, "unreachable");
    sign(&scene.file(""), REGIONS[0], &[&uri], now + day);
    scene.until_all_are(0, "well").await;
    let log = scene.gateway(0).log();
    assert_eq!(log.matches(refused).count(), 1, "{log}");
}

/// An application that never answers in us-east-1.
fn hanging(region: &'static str) -> Router {
    let answer = move || async move {
        if region == "us-east-1" {
            std::future::pending::<()>().await;
        }
        region
    };
    Router::new().fallback(answer)
}

impl FleetScene {
    async fn until_asked(&self, at: usize, times: usize) {
        until("the application is asked", DEADLINE, async || {
            Ok((self.app(at).asked().len() >= times).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn when_a_tunnel_is_lost_a_read_goes_on_and_a_write_is_of_unknown_outcome() {
    let mut scene = FleetScene::with(2, AWAY, "", hanging).await;
    let read = tokio::spawn(scene.request(Method::GET, "/app/x").send());
    let write = tokio::spawn(scene.request(Method::POST, "/app/x").body("x").send());
    scene.until_asked(1, 2).await;
    scene.kill(1);
    let read = read.await.unwrap().unwrap();
    assert_eq!((read.status().as_u16(), serving(&read)), (200, "eu-west-1"));
    problem(write.await.unwrap().unwrap(), 502, "outcome-unknown").await;
    assert_eq!(scene.app(0).asked().len(), 1);
    let unknown = "tidegate_tunnel_requests_total{region=\"us-east-1\",outcome=\"unknown\"}";
    assert!((scene.metric(unknown).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn the_deadline_holds_across_regions() {
    let brief = "[server]\nrequest_deadline = \"400ms\"\n";
    let scene = FleetScene::with(2, AWAY, brief, hanging).await;
    let read = scene.get("/app/x").await;
    problem(read, 504, "deadline").await;
    let write = scene.request(Method::POST, "/app/x").body("x");
    problem(write.send().await.unwrap(), 502, "outcome-unknown").await;
}

#[tokio::test]
async fn an_answer_whose_tunnel_is_lost_is_cut_off_visibly() {
    let endless = |_region| {
        let body = || async {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"begun"))]);
            Body::from_stream(first.chain(stream::pending()))
        };
        Router::new().fallback(body)
    };
    let mut scene = FleetScene::with(2, AWAY, "", endless).await;
    let mut response = scene.get("/app/x").await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), "begun");
    scene.kill(1);
    assert!(response.chunk().await.is_err());
}

/// Notes that it was dropped.
struct Noted(Arc<AtomicBool>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn work_ends_in_the_other_region_when_the_client_goes_away() {
    let dropped = Arc::new(AtomicBool::new(false));
    let app = |_region| {
        let dropped = Arc::clone(&dropped);
        let answer = move || async move {
            let _noted = Noted(dropped);
            std::future::pending::<&str>().await
        };
        Router::new().fallback(answer)
    };
    let scene = FleetScene::with(2, AWAY, "", app).await;
    let request = scene.request(Method::GET, "/app/x");
    let request = request.timeout(Duration::from_millis(500)).send();
    let asked = tokio::spawn(request);
    scene.until_asked(1, 1).await;
    assert!(asked.await.unwrap().unwrap_err().is_timeout());
    until("the work has ended", DEADLINE, async || {
        Ok(dropped.load(Ordering::Relaxed).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_a_primary_anywhere_the_other_regions_answer_is_final() {
    let sql = "[[endpoint]]\nmethod = \"GET\"\npath = \"/word\"\nsql = \"select 'x' as word\"\n";
    let scene = FleetScene::configured(2, AWAY, sql).await;
    let response = scene.get("/word").await;
    assert_eq!(serving(&response), "us-east-1");
    assert!(response.headers().get("tidegate-unprocessed").is_none());
    problem(response, 503, "no-primary").await;
}

#[tokio::test]
async fn a_small_write_that_nothing_was_done_for_here_goes_to_the_next_region() {
    let policy = "policy near { prefer local | us-east-1 }\n";
    let mut scene = FleetScene::start(2, policy).await;
    // Nothing is heard here any more.
    scene.members[0].app = crate::upstream::kit::App::answering(200, "elsewhere").await;
    let write = scene.request(Method::POST, "/app/x").body("x");
    let response = write.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), serving(&response)),
        (200, "us-east-1")
    );
}

#[tokio::test]
async fn a_read_with_a_body_that_is_lost_there_is_of_unknown_outcome() {
    let app = |region| {
        let answer = move || async move {
            // The connection ends with it.
            assert_ne!(region, "us-east-1", "no answer");
            region
        };
        Router::new().fallback(answer)
    };
    let scene = FleetScene::with(2, AWAY, "", app).await;
    let read = scene.request(Method::GET, "/app/x").body("x");
    problem(read.send().await.unwrap(), 502, "outcome-unknown").await;
    assert!(scene.app(0).asked().is_empty());
}
