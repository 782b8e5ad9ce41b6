//! An application that answers before it has the whole body, and stops reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::kit::{Edge, endpoint};

const BODY_BYTES: usize = 900 << 10;

/// A server that answers as soon as it has the head of a request, and closes the connection.
async fn hasty() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { refuse(&mut socket).await });
        }
    });
    url
}

/// One that answers as early, and then neither reads nor closes. Counts its connections.
async fn holding() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            refuse(&mut socket).await;
            held.push(socket);
        }
    });
    (url, connections)
}

async fn refuse(socket: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 9\r\n\r\ntoo large";
    let _gone = socket.write_all(answer.as_bytes()).await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_has_ended_reaches_the_client() {
    let edge = Edge::start(&endpoint("POST", "/app/{*rest}", &hasty().await)).await;
    let head = "POST /app/x HTTP/1.1\r\nHost: a\r\n";
    let framed = [
        format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{BODY_BYTES:x}\r\n"),
    ];
    let mut lost = Vec::new();
    for (number, head) in framed.iter().cycle().take(40).enumerate() {
        // Only a part of the body, as much as the buffers hold.
        let part = ["x", &"x".repeat(BODY_BYTES / 2)][number / 2 % 2].to_owned();
        let mut raw = edge.connect().await;
        raw.send(format!("{head}{part}")).await;
        let answer = raw.read_until("\r\n\r\n").await;
        if !answer.starts_with("HTTP/1.1 413") {
            lost.push((number, answer));
        }
    }
    assert!(lost.is_empty(), "{}: {:?}", lost.len(), lost[0]);
}

#[tokio::test]
async fn what_follows_an_early_answer_is_not_taken_for_the_next_request() {
    let edge = Edge::start(&endpoint("POST", "/app/{*rest}", &hasty().await)).await;
    for rest in [30_000, 40_000, BODY_BYTES] {
        let mut raw = edge.connect().await;
        let length = rest + 1;
        raw.send(format!(
            "POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nx"
        ))
        .await;
        let answer = raw.read_until("too large").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
        raw.send("x".repeat(rest)).await;
        assert_eq!(raw.read_to_end().await, "", "{rest}");
    }
}

#[tokio::test]
async fn a_connection_whose_answer_came_before_the_request_was_sent_is_not_used_again() {
    let (url, connections) = holding().await;
    let edge = Edge::start(&endpoint("POST", "/app/{*rest}", &url)).await;
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut raw = edge.connect().await;
        raw.send("POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
            .await;
        let answer = raw.read_until("too large").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{number}: {answer}");
        assert_eq!(connections.load(Ordering::Relaxed), number);
        raw.send("x".repeat(9)).await;
        clients.push(raw);
    }
}

#[tokio::test]
async fn a_client_that_sends_its_body_at_once_gets_the_early_answer() {
    let edge = Edge::start(&endpoint("POST", "/app/{*rest}", &hasty().await)).await;
    // This client closes a connection on which it got an early answer, but may still pick it again.
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut lost = Vec::new();
    for _ in 0..40 {
        let request = client.post(edge.gateway.url("/app/x"));
        match request.body(vec![b'x'; BODY_BYTES]).send().await {
            Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                match response.text().await {
                    Ok(text) => assert_eq!(text, "too large"),
                    Err(error) => lost.push(format!("{error:?}")),
                }
            }
            Ok(response) => lost.push(response.text().await.unwrap()),
            Err(error) => lost.push(format!("{error:?}")),
        }
    }
    assert!(lost.is_empty(), "{}: {:?}", lost.len(), lost[0]);
}
