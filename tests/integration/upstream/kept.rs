//! Connections kept for the next request, which a server closes when they have been idle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use tidegate::testkit::DelayProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::kit::{Edge, endpoint};
use crate::world::problem;

/// How long the server keeps an idle connection, and how far away it is, one way.
const IDLE: Duration = Duration::from_millis(300);
const AWAY: Duration = Duration::from_millis(80);

/// A server that closes idle connections as nginx does after its `keepalive_timeout`.
struct Server {
    address: SocketAddr,
    writes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&writes);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, Arc::clone(&counted)));
            }
        });
        Self {
            address,
            writes,
            task,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut socket: TcpStream, writes: Arc<AtomicUsize>) {
    let mut request = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(IDLE, socket.read(&mut request)).await {
        let unsafe_one = request[..read].starts_with(b"POST");
        writes.fetch_add(usize::from(unsafe_one), Ordering::Relaxed);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
    }
}

/// A gateway whose one node is far away.
async fn edge(server: &Server) -> (Edge, DelayProxy) {
    let proxy = DelayProxy::start(server.address).await.unwrap();
    proxy.set_delay(AWAY, AWAY);
    let url = format!("http://{}", proxy.address());
    (
        Edge::start(&endpoint("*", "/app/{*rest}", &url)).await,
        proxy,
    )
}

/// Waits so long after an answer that the next request and the server's end of the connection cross.
async fn until_it_closes() {
    sleep(IDLE - AWAY).await;
}

#[tokio::test]
async fn every_safe_request_is_answered_though_the_node_closes_idle_connections() {
    let server = Server::start().await;
    let (edge, proxy) = edge(&server).await;
    for request in 0..24 {
        let response = edge.get("/app/x").await;
        assert_eq!(response.status(), 200, "request {request}");
        until_it_closes().await;
    }
    assert!(proxy.connections() > 12, "{}", proxy.connections());
    let page = edge.client.get(edge.gateway.admin_url("/metrics"));
    let page = page.send().await.unwrap().text().await.unwrap();
    let of_upstreams = page
        .lines()
        .filter(|line| line.starts_with("tidegate_upstream_"));
    let mut lost = of_upstreams.filter(|line| line.contains("outcome=\"lost\""));
    assert_eq!(lost.next(), None);
}

#[tokio::test]
async fn an_unsafe_request_on_a_connection_being_closed_is_sent_once() {
    let server = Server::start().await;
    let (edge, _proxy) = edge(&server).await;
    let mut answered = 0;
    for _ in 0..8 {
        assert_eq!(edge.get("/app/x").await.status(), 200);
        until_it_closes().await;
        let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
        match response.status().as_u16() {
            200 => answered += 1,
            _ => drop(problem(response, 502, "outcome-unknown").await),
        }
        until_it_closes().await;
    }
    assert_eq!(server.writes.load(Ordering::Relaxed), answered);
}
