//! Malformed answers, byte for byte as sent by a node.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode, Version};
use reqwest::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::kit::{Edge, endpoint};
use crate::world::{header, problem};

/// A server that answers the request for `/app/N` with the answer at N, and closes the connection
/// if nothing else delimits it.
struct Verbatim {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Verbatim {
    async fn serve(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (answers, count) = (answers.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    loop {
                        let mut read = Vec::new();
                        while !read.ends_with(b"\r\n\r\n") {
                            if socket.read_buf(&mut read).await.unwrap_or(0) == 0 {
                                return;
                            }
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                        let read = String::from_utf8_lossy(&read);
                        let target = read.split(' ').nth(1).unwrap();
                        let number: usize = target.rsplit('/').next().unwrap().parse().unwrap();
                        let answer = &answers[number];
                        let _gone = socket.write_all(answer.as_bytes()).await;
                        if answer.ends_with("\r\n\r\nhello") && !answer.contains("Length") {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    async fn edge(&self) -> Edge {
        let url = format!("http://{}", self.address);
        Edge::start(&endpoint("*", "/app/{*rest}", &url)).await
    }
}

async fn edge(answers: &[&str]) -> Edge {
    let answers = answers.iter().map(|&answer| answer.to_owned());
    Verbatim::serve(answers.collect()).await.edge().await
}

fn http2() -> Client {
    let client = Client::builder().http2_prior_knowledge();
    client.build().unwrap()
}

#[tokio::test]
async fn an_answers_end_is_the_one_that_was_read() {
    let hello = "5\r\nhello\r\n0\r\n\r\n";
    let edge = edge(&[
        &format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{hello}"
        ),
        &format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\nContent-Length: 9\r\n\r\n{hello}"
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ])
    .await;
    for client in [edge.client.clone(), http2()] {
        for number in 0..5 {
            let url = edge.gateway.url(&format!("/app/{number}"));
            let response = client.get(url).send().await.unwrap();
            let lengths = response.headers().get_all("content-length").iter().count();
            assert_eq!(lengths, usize::from([2, 3].contains(&number)), "{number}");
            assert_eq!(response.text().await.unwrap(), "hello", "{number}");
        }
    }
}

#[tokio::test]
async fn an_answer_whose_end_is_not_certain_is_not_passed_on() {
    let edge = edge(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 201 Created\r\nContent-Length: 5, 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ])
    .await;
    for number in 0..8 {
        for method in [Method::GET, Method::POST] {
            let path = format!("/app/{number}");
            let response = edge.request(method.clone(), &path).send().await.unwrap();
            assert_eq!(response.status(), 502, "{method} {number}");
            let detail = problem(response, 502, "bad-gateway").await;
            assert!(!detail.contains("127.0.0.1"), "{detail}");
        }
        let head = edge.request(Method::HEAD, &format!("/app/{number}"));
        // Without a body there is an end, but no reliable length.
        let head = head.send().await.unwrap();
        if head.status() != 502 {
            assert_eq!(head.status(), 200, "{number}");
            assert_eq!(header(&head, "content-length"), "", "{number}");
        }
    }
}

#[tokio::test]
async fn what_has_no_body_says_no_length() {
    let edge = edge(&[
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
    ])
    .await;
    for client in [edge.client.clone(), http2()] {
        for (number, status) in [(0, 204), (1, 204), (2, 304)] {
            let url = edge.gateway.url(&format!("/app/{number}"));
            let response = client.get(url).send().await.unwrap();
            assert_eq!(response.status(), status, "{number}");
            for name in ["content-length", "transfer-encoding"] {
                assert_eq!(header(&response, name), "", "{number}: {name}");
            }
            assert_eq!(response.bytes().await.unwrap(), "", "{number}");
        }
    }
}

#[tokio::test]
async fn an_answer_may_have_as_many_fields_as_fit_into_a_head() {
    let fields = |count: usize| {
        let fields: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello")
    };
    let answers = [101, 1_000, 10_000].map(fields);
    let edge = Verbatim::serve(answers.to_vec()).await.edge().await;
    for (number, last) in [(0, "\r\nx-100: 100\r\n"), (1, "\r\nx-999: 999\r\n")] {
        let mut raw = edge.connect().await;
        raw.send(format!("GET /app/{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let answer = raw.read_until("hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-0: 0\r\n") && answer.contains(last));
    }
    problem(edge.get("/app/2").await, 502, "bad-gateway").await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_an_answer() {
    let long = "x".repeat(100 << 10);
    let edge = edge(&[
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "220 mail.example ESMTP\r\n\r\nhello",
        &format!("HTTP/1.1 200 OK\r\nX-A: {long}\r\nContent-Length: 5\r\n\r\nhello"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
    ])
    .await;
    for number in 0..7 {
        for method in [Method::GET, Method::POST] {
            let path = format!("/app/{number}");
            let response = edge.request(method.clone(), &path).send().await.unwrap();
            assert_eq!(response.status(), 502, "{method} {number}");
            let detail = problem(response, 502, "bad-gateway").await;
            assert!(detail.contains("may have done"), "{detail}");
        }
    }
}

#[tokio::test]
async fn the_nodes_version_of_http_is_not_the_clients() {
    let edge = edge(&[
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nhello",
    ])
    .await;
    let mut raw = edge.connect().await;
    for number in [0, 1, 0] {
        // One connection, which must stay open.
        raw.send(format!("GET /app/{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let end = ["hello", "hello\r\n0\r\n\r\n"][number];
        let answer = raw.read_until(end).await;
        assert!(answer.contains("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection:"), "{answer}");
    }
    let url = edge.gateway.url("/app/0");
    let response = http2().get(url).send().await.unwrap();
    let seen = (response.version(), response.status());
    assert_eq!(seen, (Version::HTTP_2, StatusCode::OK));
}

#[tokio::test]
async fn an_answer_that_breaks_behind_its_head_is_sent_as_far_as_it_came() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        // The end of its only chunk is not valid.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
    ];
    let node = Verbatim::serve(answers.map(str::to_owned).to_vec()).await;
    let edge = node.edge().await;
    let mut raw = edge.connect().await;
    raw.send("GET /app/0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    raw.read_until("hello").await;
    let fields = "Host: a\r\nX-Request-Id: broken-1\r\nContent-Length: 0";
    raw.send(format!("POST /app/1 HTTP/1.1\r\n{fields}\r\n\r\n"))
        .await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n5\r\nhello\r\n"), "{answer}");
    assert_eq!(node.asked.load(Ordering::Relaxed), 2);
    let line = edge.gateway.wait_for_log("an answer ended early").await;
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    let fields = line.get("fields").unwrap_or(&line);
    assert_eq!(fields["request_id"], "broken-1");

    let url = edge.gateway.url("/app/1");
    let response = http2().post(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.bytes().await.is_err());
    assert_eq!(node.asked.load(Ordering::Relaxed), 3);

    let mut raw = edge.connect().await;
    raw.send("GET /app/1 HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let mut answer = String::new();
    let ended = raw.0.read_to_string(&mut answer).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
