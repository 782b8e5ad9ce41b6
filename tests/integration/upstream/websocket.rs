//! WebSockets pass both ways until either side closes.

use std::time::Duration;

use nix::sys::signal::Signal;
use tidegate::testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::kit::{Edge, Raw, endpoint, upstream};
use crate::world::DEADLINE;

pub(crate) const HANDSHAKE: &str = "GET /app/ws?a=b HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Protocol: chat\r\nOrigin: https://app.example\r\n\r\n";

pub(crate) const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                      Sec-WebSocket-Protocol: chat\r\n\r\n";

/// A server that answers every head with the same bytes and then sends back whatever comes, until
/// it reads `bye`; it hands out the heads it saw.
pub(crate) struct Echo {
    pub(crate) address: std::net::SocketAddr,
    heads: tokio::sync::mpsc::UnboundedReceiver<String>,
    server: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) async fn echo(answer: &'static str) -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heads) = tokio::sync::mpsc::unbounded_channel();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(socket, answer, tell.clone()));
        }
    });
    Echo {
        address,
        heads,
        server,
    }
}

async fn serve(socket: TcpStream, answer: &str, tell: tokio::sync::mpsc::UnboundedSender<String>) {
    let mut raw = Raw(socket);
    let _unheard = tell.send(raw.read_until("\r\n\r\n").await);
    raw.send(answer).await;
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = raw.0.read(&mut buffer).await {
        if &buffer[..read] == b"bye" {
            return;
        }
        if raw.0.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn edge(echo: &Echo, more: &str, server: &str) -> Edge {
    let url = format!("http://{}", echo.address);
    let file = upstream(&[("eu-west-1", &url)], more) + &endpoint("*", "/app/{*rest}", "app");
    Edge::start(&format!("{server}\n{file}")).await
}

async fn open(edge: &Edge) -> Raw {
    let mut raw = edge.connect().await;
    raw.send(HANDSHAKE).await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    raw
}

async fn echoes(raw: &mut Raw, text: &str) {
    raw.send(text).await;
    assert_eq!(raw.read_until(text).await, text);
}

async fn tunnels_turn(edge: &Edge, count: f64) {
    let series = "tidegate_upstream_tunnels_open{upstream=\"app\"}";
    until("the tunnels are counted", DEADLINE, async || {
        Ok((edge.metric(series).await == count).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_client_closes() {
    let mut echo = echo(AGREED).await;
    let edge = edge(&echo, "", "").await;
    let mut raw = edge.connect().await;
    // Bytes that follow the handshake at once are not lost.
    raw.send(format!("{HANDSHAKE}early")).await;
    let answer = raw.read_until("early").await;
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(rest, "early");
    let head = head.to_ascii_lowercase();
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "sec-websocket-protocol: chat",
        "consistency-status: eu-west-1; level=strong; node=upstream; node-region=eu-west-1",
    ] {
        assert!(head.contains(&format!("\r\n{field}")), "{field}: {head}");
    }
    assert!(!head.contains("content-length"), "{head}");
    let asked = echo.heads.recv().await.unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /app/ws?a=b http/1.1\r\n"), "{asked}");
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dghlihnhbxbszsbub25jzq==",
        "origin: https://app.example",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(
            asked.contains(&format!("\r\n{field}\r\n")),
            "{field}: {asked}"
        );
    }
    echoes(&mut raw, "GET / HTTP/1.1\r\n\r\n").await;
    echoes(&mut raw, &"x".repeat(100_000)).await;
    tunnels_turn(&edge, 1.0).await;
    drop(raw);
    tunnels_turn(&edge, 0.0).await;
}

#[tokio::test]
async fn a_tunnel_ends_when_the_application_closes_it() {
    let echo = echo(AGREED).await;
    let edge = edge(&echo, "", "").await;
    let mut raw = open(&edge).await;
    raw.send("bye").await;
    assert_eq!(raw.read_to_end().await, "");
    tunnels_turn(&edge, 0.0).await;
}

#[tokio::test]
async fn a_client_that_has_said_its_last_word_still_hears_the_answer() {
    let echo = echo(AGREED).await;
    let edge = edge(&echo, "", "").await;
    let mut raw = open(&edge).await;
    raw.send("last word").await;
    raw.0.shutdown().await.unwrap();
    assert_eq!(raw.read_to_end().await, "last word");
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let echo = echo(AGREED).await;
    let edge = edge(&echo, "idle_timeout = \"400ms\"", "").await;
    let mut raw = open(&edge).await;
    echoes(&mut raw, "x").await;
    let started = Instant::now();
    assert_eq!(raw.read_to_end().await, "");
    assert!(started.elapsed() >= Duration::from_millis(350));
}

#[tokio::test]
async fn only_an_application_that_agrees_gets_a_tunnel() {
    const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let refusing = echo(REFUSED).await;
    let edge_before = edge(&refusing, "", "").await;
    let mut raw = edge_before.connect().await;
    // What follows is a separate request, not bytes for the application.
    raw.send(format!(
        "{HANDSHAKE}GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    ))
    .await;
    let answers = raw.read_to_end().await;
    assert!(answers.starts_with("HTTP/1.1 403"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");

    let pushing = echo(AGREED).await;
    let edge = edge(&pushing, "", "").await;
    for head in [
        "GET /app/ws HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /app/ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ] {
        let mut raw = edge.connect().await;
        raw.send(head).await;
        let answer = raw.read_until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    let mut raw = edge.connect().await;
    raw.send(HANDSHAKE.replace("GET", "POST")).await;
    let answer = raw.read_until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn tunnels_count_as_connections_of_the_listener_and_of_the_upstream() {
    let echo = echo(AGREED).await;
    let edge_few = edge(&echo, "connections_max = 1", "").await;
    let mut first = open(&edge_few).await;
    let mut second = edge_few.connect().await;
    second.send(HANDSHAKE).await;
    let answer = second.read_until("/problems/overloaded\"").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    echoes(&mut first, "still there").await;
    drop(first);
    tunnels_turn(&edge_few, 0.0).await;
    open(&edge_few).await;

    let edge = edge(&echo, "", "[server]\nconnections_max = 1\n").await;
    let mut first = open(&edge).await;
    let mut second = edge.connect().await;
    assert_eq!(second.read_to_end().await, "", "one connection is allowed");
    echoes(&mut first, "still there").await;
}

#[tokio::test]
async fn a_drain_waits_for_tunnels_and_then_cuts_them_off() {
    let echo = echo(AGREED).await;
    let server = "[server]\ndrain_delay = \"0s\"\ndrain_timeout = \"2s\"\n";
    let mut edge = edge(&echo, "", server).await;
    let mut raw = open(&edge).await;
    edge.gateway.signal(Signal::SIGTERM);
    edge.gateway.wait_for_log("draining").await.unwrap();
    echoes(&mut raw, "during the drain").await;
    let started = Instant::now();
    assert_eq!(raw.read_to_end().await, "");
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(edge.gateway.wait().await.unwrap().code(), Some(0));
    assert!(edge.gateway.log().contains("\"cut\":1"));
}
