//! An application that answers before it has the whole body, and stops reading.

use http::StatusCode;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::kit::{Edge, endpoint};

const BODY_BYTES: usize = 900 << 10;

/// A server that answers as soon as it has the head of a request, and closes the connection.
async fn hasty() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while !read.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                    if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 9\r\n\r\ntoo large";
                let _gone = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
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
