//! Connections that have left HTTP: bytes are passed both ways until either side ends.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::exchange::Answered;
use tidegate_telemetry::names;

/// How long one side may still send after the other has ended.
const LINGER: Duration = Duration::from_secs(5);

/// How long the client's connection may take to leave HTTP after the answer that accepts it.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects a client to the node that has accepted the change of protocol: passes bytes until
/// either side ends. Dropping the future ends both connections. It counts towards the upstream's
/// `connections_max`.
pub async fn tunnel(client: OnUpgrade, mut answered: Answered) {
    let node = hyper::upgrade::on(&mut answered.response);
    let (upstream, place) = (answered.upstream, answered.place);
    let node_name = &upstream.nodes()[answered.node].name;
    let Some((client, node)) = both(client, node).await else {
        return;
    };
    let _open = Open::new(upstream.name());
    let idle = upstream.limits().idle_timeout;
    let end = relay(TokioIo::new(client), TokioIo::new(node), idle).await;
    let upstream = upstream.name();
    tracing::debug!(upstream, node = node_name, end, "a tunnel ended");
    drop(place);
}

/// Connects a client to another gateway that has accepted the change of protocol, until either side ends
/// or nothing was sent for `idle`.
pub async fn relay_upgraded(client: OnUpgrade, gateway: OnUpgrade, idle: Duration) {
    if let Some((client, gateway)) = both(client, gateway).await {
        let end = relay(TokioIo::new(client), TokioIo::new(gateway), idle).await;
        tracing::debug!(end, "a WebSocket to another region ended");
    }
}

/// Waits until both connections have left HTTP.
async fn both(client: OnUpgrade, node: OnUpgrade) -> Option<(Upgraded, Upgraded)> {
    let both = async { tokio::try_join!(client, node) };
    match timeout(UPGRADE_TIMEOUT, both).await {
        Ok(Ok(both)) => return Some(both),
        Ok(Err(error)) => tracing::debug!(%error, "a tunnel was not opened"),
        Err(_elapsed) => tracing::debug!("a tunnel was not opened in time"),
    }
    None
}

/// Counts as an open tunnel until it is dropped.
struct Open(metrics::Gauge);

impl Open {
    fn new(upstream: &str) -> Self {
        let open = metrics::gauge!(names::UPSTREAM_TUNNELS, "upstream" => upstream.to_owned());
        open.increment(1);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// Copies both ways until both sides have ended, one has failed, or none has sent anything for
/// `idle`; once one has ended, the other has [`LINGER`]. Returns which it was.
async fn relay<C, N>(client: C, node: N, idle: Duration) -> &'static str
where
    C: AsyncRead + AsyncWrite + Unpin,
    N: AsyncRead + AsyncWrite + Unpin,
{
    let pulse = Pulse::default();
    let (mut client, mut node) = (Heard(client, &pulse), Heard(node, &pulse));
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut node) => match copied {
            Ok(_) => "closed",
            Err(_) => "broken",
        },
        () = pulse.stops(idle) => "silent",
    }
}

/// When bytes were last received, and whether one side has ended.
struct Pulse {
    state: Mutex<(Instant, bool)>,
    one_ended: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            state: Mutex::new((Instant::now(), false)),
            one_ended: Notify::new(),
        }
    }
}

impl Pulse {
    fn state(&self) -> (Instant, bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Instant::now();
    }

    fn end_one(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (Instant::now(), true);
        self.one_ended.notify_one();
    }

    async fn stops(&self, idle: Duration) {
        loop {
            let (heard, one_ended) = self.state();
            let end = heard + if one_ended { LINGER } else { idle };
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                () = sleep_until(end) => {}
                () = self.one_ended.notified() => {}
            }
        }
    }
}

/// A side whose activity is recorded.
struct Heard<'p, S>(S, &'p Pulse);

impl<S: AsyncRead + Unpin> AsyncRead for Heard<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        if polled.is_ready() {
            self.1.beat();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// The other side has ended.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.end_one();
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
