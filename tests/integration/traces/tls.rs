//! Collectors behind TLS, and systems without any root.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::kit::Collector;
use crate::upstream::kit::{App, Edge, endpoint};
use crate::upstream::tls::{ROOTS, acceptor};

/// Ends TLS in front of a server, as `localhost`; returns its port.
async fn behind_tls(server: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends it here.
                let Ok(mut socket) = acceptor.accept(socket).await else {
                    return;
                };
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ended = copy_bidirectional(&mut socket, &mut server).await;
            });
        }
    });
    port
}

/// A gateway whose system trusts the roots of a file.
async fn trusting(roots: &str, url: String, app: &App) -> Edge {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush".to_owned()),
        ("SSL_CERT_FILE", roots.to_owned()),
    ];
    Edge::with_all(&variables, endpoint("*", "/app/{*rest}", &app.url())).await
}

#[tokio::test]
async fn spans_are_sent_over_tls_to_a_collector_that_the_system_trusts_alone() {
    let app = App::answering(200, "well").await;
    let collector = Collector::start().await;
    let port = behind_tls(collector.address()).await;
    let url = format!("https://localhost:{port}");

    let other = format!("{ROOTS}/other_root.pem");
    let edge = trusting(&other, url.clone(), &app).await;
    edge.get("/app/a").await;
    let line = edge.gateway.wait_for_log("spans are lost").await.unwrap();
    assert!(
        line.contains("unreachable") && line.contains("certificate"),
        "{line}"
    );
    assert!(!line.contains("hush"));
    assert!(collector.sent().is_empty());

    let edge = trusting(&format!("{ROOTS}/root.pem"), url, &app).await;
    edge.get("/app/a").await;
    collector.trace("GET /app/{*rest}").await;
    assert_eq!(collector.sent()[0].headers["api-key"], "hush");
}

#[tokio::test]
async fn a_collector_without_tls_needs_no_root() {
    let app = App::answering(200, "well").await;
    let collector = Collector::start().await;
    let url = format!("http://{}", collector.address());
    let edge = trusting("/dev/null", url, &app).await;
    edge.get("/app/a").await;
    collector.trace("GET /app/{*rest}").await;
}
