//! Bodies are streamed both ways, and those that are too large or too slow are ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures_util::StreamExt;
use futures_util::stream;
use http::Method;
use tidegate::testkit::until;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::kit::{App, Edge, endpoint, upstream};
use crate::world::{DEADLINE, problem};

const MIB: usize = 1 << 20;

/// A body fed by a channel.
fn piped(pieces: mpsc::Receiver<&'static str>) -> Body {
    let pieces = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    Body::from_stream(pieces)
}

#[tokio::test]
async fn an_answer_passes_piece_by_piece() {
    let (send, receive) = mpsc::channel(1);
    let receive = std::sync::Mutex::new(Some(receive));
    let receive = Arc::new(receive);
    let answer = move || {
        let pieces = receive.lock().unwrap().take().unwrap();
        async move { piped(pieces) }
    };
    let app = App::serve(Router::new().route("/app/x", get(answer))).await;
    let edge = Edge::before(&app, "").await;
    send.send("one").await.unwrap();
    let mut response = edge.get("/app/x").await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), "one");
    send.send("two").await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "two");
    drop(send);
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_body_reaches_the_application_before_it_is_complete() {
    let (arrived, mut arrivals) = mpsc::channel(8);
    let take = move |body: Body| {
        let arrived = arrived.clone();
        async move {
            let mut pieces = body.into_data_stream();
            while let Some(Ok(piece)) = pieces.next().await {
                arrived.send(piece).await.unwrap();
            }
            "done"
        }
    };
    let app = App::serve(Router::new().route("/app/x", post(take))).await;
    let edge = Edge::before(&app, "").await;
    let mut raw = edge.connect().await;
    raw.send("POST /app/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    let first = timeout(DEADLINE, arrivals.recv()).await.unwrap();
    assert_eq!(first.unwrap(), "one");
    raw.send("3\r\ntwo\r\n0\r\nx-trailer: dropped\r\n\r\n")
        .await;
    assert!(raw.read_until("done").await.starts_with("HTTP/1.1 200"));
    assert_eq!(arrivals.recv().await.unwrap(), "two");
    assert_eq!(app.last().field("transfer-encoding"), "chunked");
}

#[tokio::test]
async fn large_bodies_cost_no_memory_either_way() {
    const SIZE: usize = 192 * MIB;
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let given = move || {
        let pieces = stream::repeat(Ok::<_, Infallible>(piece.clone())).take(SIZE / piece.len());
        async move { Body::from_stream(pieces) }
    };
    let counted = |body: Body| async move {
        let mut pieces = body.into_data_stream();
        let mut length = 0;
        while let Some(piece) = pieces.next().await {
            length += piece.unwrap().len();
        }
        length.to_string()
    };
    let app = App::serve(Router::new().route("/app/x", get(given).post(counted))).await;
    let edge = Edge::before(&app, "[server]\nbody_bytes_max = \"256MiB\"\n").await;
    let memory = async || edge.metric("process_resident_memory_bytes").await;
    let before = memory().await;

    let mut response = edge.get("/app/x").await;
    let mut length = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        length += piece.len();
    }
    assert_eq!(length, SIZE);
    let sent = edge.request(Method::POST, "/app/x").body(vec![b'y'; SIZE]);
    assert_eq!(
        sent.send().await.unwrap().text().await.unwrap(),
        SIZE.to_string()
    );
    let grown = memory().await - before;
    assert!(grown < 24.0 * MIB as f64, "{grown} bytes");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_application() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let endless = move || {
        let counter = Arc::clone(&counter);
        let pieces = stream::repeat_with(move || {
            counter.fetch_add(MIB, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; MIB]))
        });
        async move { Body::from_stream(pieces) }
    };
    let app = App::serve(Router::new().route("/app/x", get(endless))).await;
    let edge = Edge::before(&app, "").await;
    let mut raw = edge.connect().await;
    raw.send("GET /app/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.read_until("x").await;
    // Until it stops: the buffers of four sockets are full.
    let mut last = 0;
    until("the application is stopped", DEADLINE, async || {
        sleep(Duration::from_millis(500)).await;
        let now = made.swap(made.load(Ordering::Relaxed), Ordering::Relaxed);
        let stands = now == last;
        last = now;
        Ok(stands.then_some(()))
    })
    .await
    .unwrap();
    assert!(last < 64 * MIB, "{last} bytes");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    let take = |body: Body| async move {
        let mut pieces = body.into_data_stream();
        while let Some(Ok(_)) = pieces.next().await {}
        "taken"
    };
    let app = App::serve(Router::new().route("/app/x", post(take))).await;
    let edge = Edge::before(&app, "[server]\nbody_bytes_max = \"64KiB\"\n").await;
    let exact = edge
        .request(Method::POST, "/app/x")
        .body(vec![b'x'; 64 << 10]);
    assert_eq!(exact.send().await.unwrap().status(), 200);
    let declared = edge
        .request(Method::POST, "/app/x")
        .body(vec![b'x'; (64 << 10) + 1]);
    problem(declared.send().await.unwrap(), 413, "too-large").await;
    assert_eq!(app.asked().len(), 1, "nothing was sent");
    let mut raw = edge.connect().await;
    raw.send("POST /app/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(3);
    raw.send(chunk).await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_in_a_coding_that_is_not_understood_is_refused() {
    let app = App::answering(201, "done").await;
    let edge = Edge::before(&app, "").await;
    for coding in ["gzip, chunked", "chunked, chunked", "identity, chunked"] {
        let mut raw = edge.connect().await;
        raw.send(format!(
            "POST /app/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        ))
        .await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{coding}: {answer}");
        assert!(answer.contains("/problems/invalid-body\""), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    assert!(app.asked().is_empty());
}

#[tokio::test]
async fn a_body_that_is_expected_to_be_asked_for_is_asked_for_after_the_checks() {
    let echo = |body: Bytes| async move { body };
    let app = App::serve(Router::new().route("/app/x", post(echo))).await;
    let file = endpoint("*", "/app/{*rest}", &app.url()) + "auth = \"jwt\"\n";
    let edge = Edge::start(&file).await;
    let head = "POST /app/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nexpect: 100-continue\r\n";
    let mut raw = edge.connect().await;
    raw.send(format!("{head}\r\n")).await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let jwt = crate::world::jwt("alice").await;
    let mut raw = edge.connect().await;
    raw.send(format!("{head}authorization: Bearer {jwt}\r\n\r\n"))
        .await;
    assert!(raw.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    raw.send("body").await;
    let answer = raw.read_until("body").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(app.last().field("expect"), "");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_is_nobodys_fault_but_the_clients() {
    let take = |body: Bytes| async move { body };
    let app = App::serve(Router::new().route("/app/x", post(take))).await;
    let edge = Edge::before(&app, "[server]\nbody_timeout = \"500ms\"\n").await;
    let mut raw = edge.connect().await;
    raw.send("POST /app/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo")
        .await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("/problems/deadline\""), "{answer}");
    let timeouts = format!(
        "tidegate_upstream_requests_total{{upstream=\"{}\",node=\"{}\",outcome=\"timeout\"}}",
        app.url(),
        app.address
    );
    assert_eq!(edge.metric(&timeouts).await, 0.0);
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_broken_off_and_one_that_breaks_off_is_not_completed() {
    let silent = || async {
        let pieces = stream::iter(["a"]).chain(stream::pending());
        Body::from_stream(pieces.map(Ok::<_, Infallible>))
    };
    let breaks = Arc::new(Notify::new());
    let told = Arc::clone(&breaks);
    let broken = move || async move {
        let end = stream::once(async move {
            told.notified().await;
            Err(std::io::Error::other("broken"))
        });
        Body::from_stream(stream::iter([Ok("a")]).chain(end))
    };
    let app = Router::new()
        .route("/app/silent", get(silent))
        .route("/app/broken", get(broken));
    let app = App::serve(app).await;
    let file = upstream(&[("eu-west-1", &app.url())], "idle_timeout = \"400ms\"");
    let edge = Edge::start(&(file + &endpoint("GET", "/app/{*rest}", "app"))).await;
    for path in ["/app/silent", "/app/broken"] {
        let started = Instant::now();
        let response = edge.get(path).await;
        assert_eq!(response.status(), 200);
        if path == "/app/broken" {
            breaks.notify_one();
        }
        assert!(response.text().await.is_err(), "{path}");
        assert!(started.elapsed() < DEADLINE / 2, "{path}");
    }
    edge.gateway
        .wait_for_log("the answer stalled")
        .await
        .unwrap();
    edge.gateway
        .wait_for_log("the answer was interrupted")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let gone = Arc::new(Notify::new());
    let told = Arc::clone(&gone);
    let held = move || {
        let told = Arc::clone(&told);
        async move {
            struct Tell(Arc<Notify>);
            impl Drop for Tell {
                fn drop(&mut self) {
                    self.0.notify_one();
                }
            }
            let _tell = Tell(told);
            std::future::pending::<()>().await;
        }
    };
    let app = App::serve(Router::new().route("/app/x", post(held))).await;
    let edge = Edge::before(&app, "").await;
    let mut raw = edge.connect().await;
    raw.send("POST /app/x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        .await;
    until("the application was asked", DEADLINE, async || {
        Ok((!app.asked().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    drop(raw);
    timeout(DEADLINE, gone.notified()).await.unwrap();
}

#[tokio::test]
async fn a_client_cannot_draw_out_its_body_behind_an_answer_that_has_begun() {
    let (ended, mut endings) = mpsc::channel(1);
    let answer_at_once = move |body: Body| {
        let ended = ended.clone();
        async move {
            let whole = tokio::spawn(async move {
                let mut pieces = body.into_data_stream();
                while let Some(Ok(_)) = pieces.next().await {}
                ended.send(()).await.unwrap();
            });
            let answer = stream::iter(["a"]).chain(stream::once(async move {
                whole.await.unwrap();
                "b"
            }));
            Body::from_stream(answer.map(Ok::<_, Infallible>))
        }
    };
    let app = App::serve(Router::new().route("/app/x", post(answer_at_once))).await;
    let edge = Edge::before(&app, "[server]\nbody_timeout = \"500ms\"\n").await;
    let mut raw = edge.connect().await;
    raw.send("POST /app/x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo")
        .await;
    raw.read_until("\r\na\r\n").await;
    timeout(DEADLINE, endings.recv()).await.unwrap().unwrap();
}
