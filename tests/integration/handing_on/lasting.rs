//! Connections over time: they are made anew, retired while requests finish, and more are opened when they are
//! crowded.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request};
use http_body_util::Full;
use tidegate::testkit::until;

use super::kit::{AWAY, FleetScene, REGIONS, named, serving};
use crate::fleet::certificates;
use crate::world::{DEADLINE, reload};

#[tokio::test]
async fn after_a_renewal_connections_are_made_anew_without_the_region_being_left() {
    let mut scene = FleetScene::prepared(2, AWAY, "", named).await;
    scene.lay_lines(|_, _| Duration::ZERO).await;
    scene.start_all().await;
    let dialled = || scene.lines[&(0, 1)].connections();
    let before = dialled();
    for end in ["crt", "key"] {
        std::fs::remove_file(scene.file(&format!("eu-west-1.{end}"))).unwrap();
    }
    let folder = scene.file("");
    let ca = folder.to_str().unwrap();
    certificates(&folder, &["--regions", REGIONS[0], "--ca", ca]).await;
    // The first one at once, and the two others within half a minute, ten seconds apart.
    until("a tunnel is made anew, too", DEADLINE, async || {
        assert_eq!(serving(&scene.get("/app/x").await), REGIONS[1]);
        let view = scene.view(0).await;
        assert_eq!(view.regions[1].state, "well");
        Ok((dialled() > before + 1 && view.regions[1].tunnels == 2).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_request_finishes_on_a_connection_that_is_retired_however_silent_it_is() {
    let slow = |region: &'static str| {
        let answer = move || async move {
            tokio::time::sleep(Duration::from_secs(4)).await;
            region
        };
        Router::new().fallback(answer)
    };
    let scene = FleetScene::with(2, AWAY, "", slow).await;
    let under_way = tokio::spawn(scene.request(Method::POST, "/app/x").body("x").send());
    until("it is under way", DEADLINE, async || {
        Ok((!scene.app(1).asked().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    let file = scene.file("eu-west-1.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|it| match it.starts_with("peers") {
        true => "peers = []",
        false => it,
    });
    let without_peers: Vec<_> = lines.filter(|it| !it.contains("traffic_policy")).collect();
    reload(scene.gateway(0), &file, &without_peers.join("\n")).await;
    let response = under_way.await.unwrap().unwrap();
    let served = (response.status().as_u16(), serving(&response));
    assert_eq!(served, (200, REGIONS[1]));
}

/// Endless answers, and whether one of them was given up.
fn endless(dropped: &Arc<AtomicBool>) -> impl Fn(&'static str) -> Router + use<> {
    struct Noted(Arc<AtomicBool>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dropped = Arc::clone(dropped);
    move |_region| {
        let dropped = Arc::clone(&dropped);
        let answer = move || async move {
            let noted = Noted(dropped);
            let pieces = stream::repeat(Bytes::from_static(&[7; 32 * 1024]));
            Body::from_stream(pieces.map(move |piece| {
                let _held = &noted;
                Ok::<_, Infallible>(piece)
            }))
        };
        let small = || async { "small" };
        Router::new()
            .route("/app/small", axum::routing::get(small))
            .fallback(answer)
    }
}

#[tokio::test]
async fn a_peer_that_takes_no_byte_of_an_answer_loses_it() {
    let dropped = Arc::<AtomicBool>::default();
    let brief = "[server]\nidle_timeout = \"1s\"\n";
    let scene = FleetScene::with(2, AWAY, brief, endless(&dropped)).await;
    let mut slow = scene.peer().await;
    let request = Request::get("https://x/app/x").header("tidegate-deadline", "9000");
    slow.ready().await.unwrap();
    let answer = slow.send_request(request.body(Full::default()).unwrap());
    let unread = answer.await.unwrap();
    until("the answer is given up", DEADLINE, async || {
        Ok(dropped.load(Ordering::Relaxed).then_some(()))
    })
    .await
    .unwrap();
    drop(unread);
}

#[tokio::test]
async fn tunnels_whose_windows_are_taken_get_others_and_small_requests_pass() {
    let dropped = Arc::<AtomicBool>::default();
    let scene = FleetScene::with(2, AWAY, "", endless(&dropped)).await;
    // Each holds half a MiB of a window of sixteen.
    let unread = (0..44).map(|_| scene.get("/app/x"));
    let unread = futures_util::future::join_all(unread).await;
    until("more tunnels are open", DEADLINE, async || {
        let view = scene.view(0).await;
        anyhow::ensure!(view.regions[1].tunnels > 2, "{view:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let small = scene.get("/app/small").await;
    assert_eq!(serving(&small), REGIONS[1]);
    assert_eq!(small.text().await.unwrap(), "small");
    drop(unread);
}

#[tokio::test]
async fn bytes_and_lost_connections_of_the_fleet_are_counted() {
    let mut scene = FleetScene::with(2, AWAY, "", named).await;
    for direction in ["in", "out"] {
        let series = format!("tidegate_fleet_bytes_total{{direction=\"{direction}\"}}");
        assert!(scene.metric(&series).await > 100.0, "{direction}");
    }
    scene.kill(1);
    until("they wait to be dialled again", DEADLINE, async || {
        let lost = "tidegate_fleet_streams{region=\"us-east-1\",state=\"lost\"}";
        Ok((scene.metric(lost).await >= 1.0).then_some(()))
    })
    .await
    .unwrap();
}
