//! What makes TLS connections of sockets.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::certificate::{Certificate, CertificateError, CertificateFiles};
use super::handshakes::Handshakes;
use tidegate_telemetry::names;

/// The protocols that are offered, the preferred one first (RFC 7301).
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// First byte of a TLS record that holds a handshake message (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Why a listener cannot use TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The files cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS library does not start.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The TLS of one listener: what new connections use, and the handshakes in progress.
#[derive(Debug)]
pub struct TlsAcceptor {
    pub(super) files: CertificateFiles,
    in_force: ArcSwap<InForce>,
    handshakes: Handshakes,
}

/// What new connections use.
#[derive(Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    certificate: Certificate,
}

impl TlsAcceptor {
    /// Makes an acceptor of a pair of files.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsSetupError> {
        let certificate = files.load()?;
        let config = config(&certificate)?;
        let in_force = InForce {
            config: Arc::new(config),
            certificate,
        };
        Ok(Self {
            files,
            in_force: ArcSwap::from_pointee(in_force),
            handshakes: Handshakes::default(),
        })
    }

    /// The certificate in force.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.in_force.load().certificate.clone()
    }

    /// Uses a certificate for new connections. Open ones keep theirs, and sessions can be resumed.
    pub(super) fn renew(&self, certificate: Certificate) {
        let mut config = ServerConfig::clone(&self.in_force.load().config);
        config.cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&certificate.key)));
        self.in_force.store(Arc::new(InForce {
            config: Arc::new(config),
            certificate,
        }));
    }

    /// Shakes hands with a client. Does not end by itself: the caller bounds the time.
    ///
    /// # Errors
    /// The client has gone, or is not able to use TLS as it is offered, or there were too many
    /// newer handshakes.
    pub(in crate::http) async fn accept<S>(&self, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut handshake = self.handshakes.begin();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&self.in_force.load().config));
        let accepted = tokio::select! {
            biased;
            accepted = acceptor.accept(socket) => accepted,
            () = handshake.displaced() => {
                count("displaced");
                return Err(io::Error::other("too many unfinished TLS handshakes"));
            }
        };
        count(if accepted.is_ok() { "done" } else { "failed" });
        accepted
    }
}

/// Waits for the first byte of a client, and returns whether it begins a TLS handshake. The byte
/// is still there to be read.
///
/// # Errors
/// The client has gone.
pub(in crate::http) async fn begins_tls(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0] == HANDSHAKE_RECORD),
    }
}

/// Whether the client of a connection has chosen HTTP/2.
pub(in crate::http) fn chose_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(ALPN_H2)
}

fn count(outcome: &'static str) {
    metrics::counter!(names::TLS_HANDSHAKES, "outcome" => outcome).increment(1);
}

/// TLS 1.2 and 1.3 with what the provider has: ECDHE and AEAD alone.
fn config(certificate: &Certificate) -> Result<ServerConfig, rustls::Error> {
    let key = SingleCertAndKey::from(Arc::clone(&certificate.key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
    // Sessions are kept by the clients, so that no number of them takes memory here.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}
