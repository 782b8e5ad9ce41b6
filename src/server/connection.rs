//! One client connection from accept to close.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};

use axum::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::activity::{Activity, Expiry};
use super::stream_task::StreamTasks;
use super::tracked::Tracked;
use super::watched::Watched;
use super::{Drain, Limits};
use crate::target::upstream::Tunnel;
use crate::telemetry::names;

/// Finds HTTP/2 peers that are gone without a word, also while a request is in flight.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams a client may open and reset before they are answered, and streams this side may have
/// to reset for a client's errors, before the connection is closed: floods of either are cheap to
/// send (CVE-2023-44487, CVE-2025-8671). These are the defaults of h2 and hyper, pinned here.
const RESETS_PENDING_MAX: usize = 20;
const RESETS_LOCAL_MAX: usize = 1024;

/// Time an idle connection has to take leave: to answer a GOAWAY, to send a last request.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// hyper takes no smaller limit.
const HEADER_BYTES_MIN: usize = 8 * 1024;

/// What all connections of a listener share.
pub(super) struct Context<S> {
    pub(super) listener: &'static str,
    pub(super) service: S,
    pub(super) limits: Limits,
    pub(super) drain: Drain,
    protocol: auto::Builder<StreamTasks>,
}

impl<S> Context<S> {
    pub(super) fn new(listener: &'static str, service: S, limits: Limits, drain: Drain) -> Self {
        let protocol = protocol(&limits);
        Self {
            listener,
            service,
            limits,
            drain,
            protocol,
        }
    }

    pub(super) fn count_expired(&self, reason: &'static str, connections: u64) {
        let labels = [("listener", self.listener), ("reason", reason)];
        metrics::counter!(names::CONNECTIONS_EXPIRED, &labels).increment(connections);
    }
}

fn protocol(limits: &Limits) -> auto::Builder<StreamTasks> {
    let header_bytes = limits.header_bytes_max.max(HEADER_BYTES_MIN);
    let mut builder = auto::Builder::new(StreamTasks {
        write_timeout: limits.write_timeout,
    });
    builder
        .http1()
        .header_read_timeout(None) // see `activity`
        // The buffer bounds the head; a body passes through it in pieces.
        .max_buf_size(header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_LOCAL_MAX);
    builder
}

/// Serves one connection until the client is done, it is out of time, or `closing` changes and
/// its requests in flight are answered.
pub(super) async fn drive<S, B>(
    context: Arc<Context<S>>,
    socket: TcpStream,
    peer: SocketAddr,
    mut closing: watch::Receiver<()>,
) where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small answers may be delayed");
    }
    let activity = Activity::new(Instant::now());
    let tunnel = Arc::new(OnceLock::new());
    let service = Tracked {
        service: context.service.clone(),
        peer,
        activity: Arc::clone(&activity),
        drain: context.drain.clone(),
        tunnel: Arc::clone(&tunnel),
    };
    let socket = TokioIo::new(Watched::new(socket, Arc::clone(&activity)));
    let mut connection = pin!(
        context
            .protocol
            .serve_connection_with_upgrades(socket, service)
    );

    tokio::select! {
        biased;
        outcome = connection.as_mut() => return end(peer, outcome, &tunnel).await,
        _ = closing.changed() => {}
        expiry = expired(&activity, &context.limits) => {
            context.count_expired(expiry.as_str(), 1);
            if expiry != Expiry::Idle {
                return;
            }
        }
    }

    connection.as_mut().graceful_shutdown();
    activity.restart_idle();
    let limits = Limits {
        idle_timeout: GOODBYE_TIMEOUT,
        ..context.limits.clone()
    };
    tokio::select! {
        biased;
        outcome = connection.as_mut() => end(peer, outcome, &tunnel).await,
        _ = expired(&activity, &limits) => {}
    }
}

/// Waits until the connection is out of time. Must be polled after the connection in the same
/// task: what the connection does moves the deadline.
async fn expired(activity: &Activity, limits: &Limits) -> Expiry {
    let mut timer = pin!(sleep_until(Instant::now() + limits.idle_timeout));
    poll_fn(|cx| {
        activity.wake_on_end(cx.waker());
        loop {
            let Some((at, expiry)) = activity.deadline(limits) else {
                return Poll::Pending;
            };
            // A deadline usually moves away with every request. The timer is left where it is
            // then, and moved once it fires.
            if at < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if at <= timer.deadline() {
                return Poll::Ready(expiry);
            }
        }
    })
    .await
}

/// The end of HTTP on a connection; if it was left for another protocol, that goes on until it is
/// done or the drain cuts it off.
async fn end(
    peer: SocketAddr,
    outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>,
    tunnel: &OnceLock<Tunnel>,
) {
    if let Err(error) = outcome {
        tracing::debug!(%peer, error, "connection ended early");
    } else if let Some(tunnel) = tunnel.get() {
        tunnel.clone().run().await;
    }
}
