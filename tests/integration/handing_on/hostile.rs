//! Peers with a certificate that misbehave: others are served, and nothing moves.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout};

use super::kit::{FleetScene, serving};
use crate::fleet::connect;
use crate::world::DEADLINE;

const AWAY: &str = "policy away { prefer us-east-1 | local }\n";

impl FleetScene {
    /// Speaks HTTP/2 to the second region's gateway as a gateway of the first one.
    pub(super) async fn peer(&self) -> SendRequest<Full<Bytes>> {
        let shown = self.file("eu-west-1");
        let socket = connect(self.ports[1], Some(&shown)).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_sends_a_giant_frame_is_cut_off() {
    let scene = FleetScene::start(2, AWAY).await;
    let shown = scene.file("eu-west-1");
    let mut silent = connect(scene.ports[1], Some(&shown)).await.unwrap();
    let mut giant = connect(scene.ports[1], Some(&shown)).await.unwrap();
    let began = Instant::now();
    giant
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    // Settings, and data of 16 MiB.
    giant.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    giant
        .write_all(&[255, 255, 255, 0, 0, 0, 0, 0, 1])
        .await
        .unwrap();
    let end = timeout(DEADLINE, giant.read_to_end(&mut Vec::new())).await;
    let _reset_or_end = end.expect("it is cut off");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
    let end = timeout(DEADLINE, silent.read_to_end(&mut Vec::new())).await;
    let _reset_or_end = end.expect("it is cut off");
    assert_eq!(serving(&scene.get("/app/x").await), "us-east-1");
}

#[tokio::test]
async fn a_peer_that_reads_no_answer_holds_up_no_other() {
    let large = |_region| {
        let body = || async { vec![b'x'; 4 << 20] };
        Router::new().fallback(body)
    };
    let scene = FleetScene::with(2, AWAY, "", large).await;
    let mut slow = scene.peer().await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let request = Request::get("https://x/app/x").header("tidegate-deadline", "5000");
        let request = request.body(Full::default()).unwrap();
        slow.ready().await.unwrap();
        unread.push(slow.send_request(request).await.unwrap());
    }
    let response = scene.get("/app/x").await;
    assert_eq!(serving(&response), "us-east-1");
    assert_eq!(response.bytes().await.unwrap().len(), 4 << 20);
}

#[tokio::test]
async fn peers_that_read_no_answers_take_little_memory() {
    let large = |_region| {
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let body = move || {
            let pieces = stream::repeat(Ok::<_, Infallible>(piece.clone())).take(64);
            async move { Body::from_stream(pieces) }
        };
        Router::new().fallback(body)
    };
    let scene = FleetScene::with(2, AWAY, "", large).await;
    assert_eq!(
        scene.get("/app/x").await.bytes().await.unwrap().len(),
        4 << 20
    );
    let before = scene.memory(1);
    let mut unread = Vec::new();
    for _ in 0..4 {
        let mut slow = scene.peer().await;
        for _ in 0..40 {
            let request = Request::get("https://x/app/x").header("tidegate-deadline", "9000");
            slow.ready().await.unwrap();
            let answer = slow.send_request(request.body(Full::default()).unwrap());
            unread.push(timeout(DEADLINE, answer).await.unwrap().unwrap());
        }
    }
    let grown = scene.memory(1).saturating_sub(before);
    assert!(
        grown < 96 << 20,
        "{grown} bytes for {} answers of 4 MiB",
        unread.len()
    );
    let response = scene.get("/app/x").await;
    assert_eq!(serving(&response), "us-east-1");
    assert_eq!(response.bytes().await.unwrap().len(), 4 << 20);
}

#[tokio::test]
async fn a_peer_reaches_nothing_but_what_the_public_listener_has() {
    let scene = FleetScene::start(2, AWAY).await;
    let mut peer = scene.peer().await;
    let mut status = async |path: &str, deadline: &str| {
        let request = Request::get(format!("https://x{path}"));
        let request = request.header("tidegate-deadline", deadline);
        peer.ready().await.unwrap();
        let answer = peer
            .send_request(request.body(Full::default()).unwrap())
            .await;
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        let _body = answer.into_body().collect().await.unwrap();
        status
    };
    assert_eq!(status("/app/x", "1000").await, 200);
    for path in [
        "/admin/topology",
        "/metrics",
        "/health/edge",
        "/health/live",
        "/nothing",
    ] {
        assert_eq!(status(path, "1000").await, 404, "{path}");
    }
    // A probe: without a database the region is unhealthy.
    assert_eq!(status("/health/edge", "x").await, 503);
    assert_eq!(status("/admin/topology", "x").await, 404);
}
