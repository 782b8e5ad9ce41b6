//! The bytes of `Watch` as HTTP/2 sends them inside TLS, without pings, and how fast a change arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::paced::Load;
use super::pair::{Pair, REGIONS};
use crate::report::Report;
use crate::tls::Trusting;

const WATCHED: Duration = Duration::from_secs(20);
const CHANGES: usize = 20;

/// An open `Watch` of the second gateway, as a gateway of the first region would have it.
struct Watcher {
    body: Incoming,
    pending: BytesMut,
    read: Arc<AtomicU64>,
}

/// What came in some time.
struct Traffic {
    bytes_a_second: f64,
    updates: usize,
    longest: usize,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    let pair = Pair::start(["", ""], Router::new().fallback(|| async { "x" })).await?;
    let mut watcher = Watcher::open(&pair).await?;
    // All records first, then what changes.
    let _first = watcher.take(Duration::from_secs(2)).await?;
    let idle = watcher.take(WATCHED).await?;
    let address = pair.gateways[1].address;
    let load = move |per_second| Load {
        address,
        path: "/app/x",
        per_second,
        connections: 8,
    };
    let changing = tokio::spawn(async move {
        let end = Instant::now() + WATCHED;
        for turn in 0.. {
            if Instant::now() >= end {
                break;
            }
            let per_second = if turn % 2 == 0 { 800 } else { 40 };
            load(per_second).run(Duration::from_millis(250)).await?;
        }
        anyhow::Ok(())
    });
    let busy = watcher.take(WATCHED).await?;
    changing.await??;
    let arrived = convergence(&pair, &mut watcher).await?;
    report.row(
        "an Update of `Watch` with one record, the longest",
        format!("**{} B**", busy.longest.max(idle.longest)),
        "≤ 64 B",
        busy.longest.max(idle.longest) <= 64,
    );
    for (what, traffic, bar) in [
        ("nothing changes", idle, 100.0),
        ("everything changes all the time", busy, 1_024.0),
    ] {
        report.row(
            format!(
                "`Watch` of one gateway, {what}, {} Updates in {} s",
                traffic.updates,
                WATCHED.as_secs()
            ),
            format!("**{:.0} B/s**", traffic.bytes_a_second),
            format!("≤ {bar} B/s"),
            traffic.bytes_a_second <= bar,
        );
    }
    report.row(
        format!("a change is known in the other region, slowest of {CHANGES}"),
        format!("**{:.1} ms**", arrived.as_secs_f64() * 1e3),
        "≤ 50 ms",
        arrived <= Duration::from_millis(50),
    );
    Ok(())
}

/// Drains the region again and again; returns how long the slowest change took to arrive.
async fn convergence(pair: &Pair, watcher: &mut Watcher) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    let mut version = 0;
    for number in 0..CHANGES {
        let begun = Instant::now();
        let ordered = pair.drain(number % 2 == 0);
        let changed = async {
            loop {
                let told = drain_version(&watcher.next().await?)?;
                if told > version {
                    return anyhow::Ok((told, begun.elapsed()));
                }
            }
        };
        let (ordered, changed) = tokio::join!(ordered, timeout(Duration::from_secs(5), changed));
        ordered?;
        let (told, took) = changed.context("no change arrives")??;
        (version, slowest) = (told, slowest.max(took));
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    Ok(slowest)
}

impl Watcher {
    async fn open(pair: &Pair) -> Result<Self> {
        let file = |end: &str| pair.file(&format!("{}.{end}", REGIONS[0]));
        let certificate = CertificateDer::from_pem_file(file("crt"))?;
        let key = PrivateKeyDer::from_pem_file(file("key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Trusting(Arc::clone(&provider)));
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(pair.fleet[1]).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let socket = connector
            .connect(ServerName::try_from("fleet")?, socket)
            .await?;
        let read = Arc::<AtomicU64>::default();
        let counted = Counted {
            socket,
            read: Arc::clone(&read),
        };
        let (mut sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(counted)).await?;
        tokio::spawn(connection);
        let request = Request::post("https://fleet/tidegate.fleet.v1.Health/Watch")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        // A message without fields.
        let request = request.body(Body::from(vec![0_u8; 5]))?;
        let answer = sender.send_request(request).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        Ok(Self {
            body: answer.into_body(),
            pending: BytesMut::new(),
            read,
        })
    }

    /// Returns the next Update.
    async fn next(&mut self) -> Result<Bytes> {
        loop {
            if let Some(head) = self.pending.get(..5) {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.pending.len() >= 5 + length {
                    self.pending.advance(5);
                    return Ok(self.pending.split_to(length).freeze());
                }
            }
            let frame = self.body.frame().await.context("the Watch has ended")??;
            if let Ok(data) = frame.into_data() {
                self.pending.extend_from_slice(&data);
            }
        }
    }

    async fn take(&mut self, time: Duration) -> Result<Traffic> {
        let (begun, before) = (Instant::now(), self.read.load(Ordering::Relaxed));
        let (mut updates, mut longest) = (0, 0);
        while let Some(left) = time.checked_sub(begun.elapsed()) {
            if let Ok(update) = timeout(left, self.next()).await {
                updates += 1;
                longest = longest.max(update?.len());
            }
        }
        let bytes = self.read.load(Ordering::Relaxed) - before;
        Ok(Traffic {
            bytes_a_second: bytes as f64 / begun.elapsed().as_secs_f64(),
            updates,
            longest,
        })
    }
}

/// Reads the version of the drain out of an Update's first record: its field 6.
fn drain_version(update: &[u8]) -> Result<u64> {
    let mut bytes = update;
    // Field 1 of the Update, with a length.
    ensure!(varint(&mut bytes)? == 0x0a, "no record");
    let length = usize::try_from(varint(&mut bytes)?)?;
    let mut record = bytes.get(..length).context("a short record")?;
    while !record.is_empty() {
        let key = varint(&mut record)?;
        match key & 7 {
            0 => {
                let value = varint(&mut record)?;
                if key >> 3 == 6 {
                    return Ok(value);
                }
            }
            1 => record = record.get(8..).context("a short record")?,
            2 => {
                let length = usize::try_from(varint(&mut record)?)?;
                record = record.get(length..).context("a short record")?;
            }
            kind => anyhow::bail!("no field is of kind {kind}"),
        }
    }
    Ok(0)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a short number")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("a long number")
}

/// A socket that counts what is read from it.
struct Counted<S> {
    socket: S,
    read: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
