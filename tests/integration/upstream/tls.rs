//! Nodes that use TLS.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::kit::{Edge, Raw, endpoint, upstream};
use crate::world::problem;

/// The directory of their roots.
pub(crate) const ROOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/tls");

/// A server with a certificate for `localhost` that gives the same answer to every request; returns
/// its port.
async fn server() -> u16 {
    let acceptor = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends it here.
                if let Ok(socket) = acceptor.accept(socket).await {
                    let mut raw = Raw(socket);
                    raw.read_until("\r\n\r\n").await;
                    raw.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret")
                        .await;
                }
            });
        }
    });
    port
}

/// Takes TLS connections with a certificate for `localhost`.
pub(crate) fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(format!("{ROOTS}/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{ROOTS}/server_key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test]
async fn a_node_must_show_a_certificate_that_the_system_trusts_for_its_name() {
    let port = server().await;
    let file = |host| endpoint("*", "/app/{*rest}", &format!("https://{host}:{port}"));
    let trusting = |host| Edge::with("SSL_CERT_FILE", format!("{ROOTS}/root.pem"), file(host));
    let edge = trusting("localhost").await;
    let response = edge.get("/app/x").await;
    assert_eq!(response.text().await.unwrap(), "secret");

    let other_root = format!("{ROOTS}/other_root.pem");
    let untrusted = Edge::with("SSL_CERT_FILE", other_root, file("localhost")).await;
    for edge in [trusting("127.0.0.1").await, untrusted] {
        problem(edge.get("/app/x").await, 503, "no-node").await;
        edge.gateway.wait_for_log("certificate").await.unwrap();
    }
}

#[tokio::test]
async fn the_roots_of_an_upstream_replace_those_of_the_system() {
    let port = server().await;
    let file = |host: &str, root: &str| {
        let url = format!("https://{host}:{port}");
        let roots = format!("roots = \"{ROOTS}/{root}\"");
        let endpoint = endpoint("*", "/app/{*rest}", "app");
        format!("{}{endpoint}", upstream(&[("eu-west-1", &url)], &roots))
    };
    let edge = Edge::start(&file("localhost", "root.pem")).await;
    let response = edge.get("/app/x").await;
    assert_eq!(response.text().await.unwrap(), "secret");
    // A name that the certificate does not have, and a root that did not sign it.
    for (host, root) in [("127.0.0.1", "root.pem"), ("localhost", "other_root.pem")] {
        let trusts = |root| Edge::with("SSL_CERT_FILE", format!("{ROOTS}/root.pem"), root);
        let edge = trusts(file(host, root)).await;
        problem(edge.get("/app/x").await, 503, "no-node").await;
        edge.gateway.wait_for_log("certificate").await.unwrap();
    }
}

#[test]
fn roots_that_cannot_be_used_are_refused_by_their_file() {
    for (file, why) in [
        ("absent.pem", "cannot be read"),
        ("server_key.pem", "no PEM certificate"),
    ] {
        let roots = format!("roots = \"{ROOTS}/{file}\"");
        let file = format!("{ROOTS}/{file}");
        let text = format!(
            "{}{}",
            upstream(&[("eu-west-1", "http://app:3000")], &roots),
            endpoint("*", "/app/{*rest}", "app")
        );
        let refused = crate::docs::check(&text).unwrap_err();
        assert!(
            refused.contains(&file) && refused.contains(why),
            "{refused}"
        );
    }
}
