//! Connections to nodes, on which an answer can still be read after a node has stopped reading.
//!
//! A server may answer before it has the whole request, and close (RFC 9112 section 9.6). Writes
//! then fail, often before the answer has been read, although the system still holds it. A
//! connection that fails at the first write would lose it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Duration, timeout};
use tower::{BoxError, Service};

use super::client::ConnectionUse;

/// Opens connections, with TLS if the URL says so.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Connector {
    /// Trusts the system's roots, or those of `SSL_CERT_FILE` instead; without roots TLS is not
    /// possible.
    ///
    /// # Errors
    /// There are no root certificates although they are needed.
    pub(super) fn new(timeout: Duration, with_roots: bool) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        if with_roots {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let reason = "the system has no root certificates";
                return Err(rustls::Error::General(reason.to_owned()));
            }
        }
        let provider = rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self { inner, timeout })
    }
}

impl Service<Uri> for Connector {
    type Response = Readable<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.timeout, self.inner.call(uri));
        let connected = connecting.map(|connected| {
            let io = connected??;
            Ok(Readable {
                io,
                takes_bytes: true,
                use_so_far: ConnectionUse::default(),
            })
        });
        connected.boxed()
    }
}

/// A connection whose end is seen when reading: bytes that the node no longer accepts are dropped.
#[derive(Debug)]
pub(super) struct Readable<S> {
    io: S,
    takes_bytes: bool,
    use_so_far: ConnectionUse,
}

impl<S: Write + Unpin> Readable<S> {
    /// Writes, unless the node has closed; then it only returns `instead`.
    fn write<T>(
        &mut self,
        instead: T,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if !self.takes_bytes {
            return Poll::Ready(Ok(instead));
        }
        match write(Pin::new(&mut self.io)) {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.takes_bytes = false;
                Poll::Ready(Ok(instead))
            }
            written => written,
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

impl<S: Write + Unpin> Write for Readable<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let all = bytes.len();
        self.get_mut().write(all, |io| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        let write = |io: Pin<&mut S>| io.poll_write_vectored(cx, slices);
        self.get_mut().write(all, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write((), |io| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write((), |io| io.poll_shutdown(cx))
    }
}

impl<S: Read + Unpin> Read for Readable<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl<S: Connection> Connection for Readable<S> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.use_so_far.clone())
    }
}
