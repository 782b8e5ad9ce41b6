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
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Duration, timeout};
use tower::{BoxError, Service};

/// Opens connections, with TLS if the URL says so.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Connector {
    /// Verifies certificates with these roots, and that they are for the host of the URL; with no
    /// roots TLS is not possible.
    ///
    /// # Errors
    /// The TLS library does not start.
    pub(super) fn new(timeout: Duration, roots: RootCertStore) -> Result<Self, rustls::Error> {
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
