//! Connections whose clients are silent: they cost little memory, and are served again.

use axum::Router;
use axum::routing::any;
use tidegate::testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frames::Stream;
use super::kit::Secure;
use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::DEADLINE;

const CONNECTIONS: u32 = 400;
const REQUEST: &[u8] = b"GET /app/x HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Reads one answer.
async fn answer(client: &mut impl Stream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nwell") {
        let more = timeout(DEADLINE, client.read_buf(&mut read)).await;
        assert_ne!(more.expect("an answer").unwrap(), 0, "{read:?}");
    }
    assert!(read.starts_with(b"HTTP/1.1 200"), "{read:?}");
}

/// Asks over connections before and after a rest, in which each costs so many bytes at most.
async fn check<S: Stream>(edge: &Edge, connect: impl AsyncFn() -> S, bytes_max: f64) {
    let memory = async || edge.metric("process_resident_memory_bytes").await;
    // The first ones allocate what all need.
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(connect().await);
    }
    for client in &mut clients {
        client.write_all(REQUEST).await.unwrap();
        answer(client).await;
    }
    let before = memory().await;
    for _ in 0..CONNECTIONS {
        let mut client = connect().await;
        client.write_all(REQUEST).await.unwrap();
        answer(&mut client).await;
        clients.push(client);
    }
    // What is freed goes back to the system within ten seconds.
    let at_rest = async || {
        let each = (memory().await - before) / f64::from(CONNECTIONS);
        Ok((each <= bytes_max).then_some(()))
    };
    let what = format!("a connection takes {bytes_max} bytes or less");
    until(&what, DEADLINE, at_rest).await.unwrap();
    for client in &mut clients {
        client.write_all(REQUEST).await.unwrap();
        // There is no rest while a head has begun.
        client.write_all(&REQUEST[..20]).await.unwrap();
        answer(client).await;
    }
    for client in &mut clients {
        client.write_all(&REQUEST[20..]).await.unwrap();
        answer(client).await;
    }
}

#[tokio::test]
async fn a_silent_connection_holds_no_buffers_and_is_served_again() {
    let app = App::serve(Router::new().fallback(any(|| async { "well" }))).await;
    let clear = Edge::start(&endpoint("*", "/app/{*rest}", &app.url())).await;
    let connect = async || TcpStream::connect(clear.gateway.listen()).await.unwrap();
    check(&clear, connect, 10e3).await;
}

#[tokio::test]
async fn a_silent_connection_over_tls_holds_no_buffers_of_http_and_is_served_again() {
    let app = App::serve(Router::new().fallback(any(|| async { "well" }))).await;
    let secure = Secure::before(app, "").await;
    let connect = async || secure.authority.connect(&secure.edge, &["http/1.1"]).await;
    check(&secure.edge, connect, 22e3).await;
}
