//! The listener of the fleet: only gateways with a certificate of their region may connect.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_model::RegionId;
use tidegate_telemetry::{names, survive};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::credentials::Credentials;
use super::dial::STREAM_WINDOW;
use super::event::Event;
use super::expected::ExpectedRegions;
use super::fleet_drain::FleetDrain;
use super::heard::Heard;
use super::peer_limits::PeerLimits;
use super::refusal::Refusal;
use super::refusal_log::RefusalLog;
use super::served_peer::{Host, ServedPeer};
use super::vouched::{GOODBYE_MAX, Shown, until_refused};
use crate::endpoint::Public;
use crate::http::{Handshakes, Listener, StreamTasks};
use crate::tunnels::CONNECTION_WINDOW;

/// TLS and the preface take no longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// After so long without a frame, this side asks whether the peer is still there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Streams of one connection.
const STREAMS_MAX: u32 = 1_000;

/// The head of a request: as large as the public listener takes, and what the entry adds.
const HEAD_BYTES_MAX: u32 = 36 * 1024;

/// Serves peers until it is dropped.
pub(super) struct FleetListener {
    pub(super) listener: Listener,
    pub(super) credentials: Arc<ArcSwap<Credentials>>,
    /// Whose gateways may connect.
    pub(super) expected: ExpectedRegions,
    pub(super) events: mpsc::Sender<Event>,
    /// Answers probes.
    pub(super) health: Router,
    /// Answers requests.
    pub(super) public: Public,
    /// How long a peer may take no byte of an answer.
    pub(super) idle_timeout: Duration,
    pub(super) limits: PeerLimits,
    pub(super) drain: FleetDrain,
    /// Dropped with the last connection.
    pub(super) alive: mpsc::Sender<Infallible>,
}

impl FleetListener {
    /// Accepts connections until the drain is over.
    pub(super) async fn run(mut self) {
        let handshakes = Arc::<Handshakes>::default();
        let refusals = RefusalLog::default();
        let drain = self.drain.clone();
        let mut over = pin!(drain.over());
        loop {
            let accepted = tokio::select! {
                () = &mut over => return,
                accepted = self.listener.accept() => accepted,
            };
            // At worst that connection is lost.
            let begin = async { self.begin(accepted, &handshakes, &refusals) };
            survive("fleet listener", begin).await;
        }
    }

    /// Serves a connection in a task of its own.
    fn begin(
        &self,
        (socket, address): (TcpStream, SocketAddr),
        handshakes: &Arc<Handshakes>,
        refusals: &RefusalLog,
    ) {
        let vouching = Arc::clone(&self.credentials);
        let credentials = vouching.load_full();
        let host = Host {
            events: self.events.clone(),
            health: self.health.clone(),
            public: self.public.clone(),
            idle_timeout: self.idle_timeout,
            drain: self.drain.clone(),
            _alive: self.alive.clone(),
        };
        let (handshakes, limits) = (Arc::clone(handshakes), self.limits.clone());
        let (expected, refusals) = (self.expected.clone(), refusals.clone());
        tokio::spawn(async move {
            let identified = {
                let mut handshake = handshakes.begin();
                tokio::select! {
                    () = handshake.displaced() => return,
                    identified = timeout(HANDSHAKE_MAX, identify(socket, &credentials, &expected)) => identified,
                }
            };
            match identified {
                Ok(Ok((region, socket))) => {
                    let Some(connection) = limits.connect(&region, address.ip()) else {
                        return crowd_out(&region, address, &refusals);
                    };
                    let peer = ServedPeer {
                        region,
                        host,
                        connection,
                    };
                    serve(socket, peer, &vouching, &expected).await;
                }
                Ok(Err(error)) => refuse(address, &error, &refusals),
                Err(_elapsed) => tracing::debug!(%address, "a handshake took too long"),
            }
        });
    }
}

/// Does the handshake, and returns the region of the peer.
async fn identify(
    socket: TcpStream,
    credentials: &Credentials,
    expected: &ExpectedRegions,
) -> io::Result<(RegionId, tokio_rustls::server::TlsStream<TcpStream>)> {
    socket.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&credentials.server));
    let socket = acceptor.accept(socket).await?;
    let peer = socket.get_ref().1.peer_certificates().unwrap_or_default();
    let region = credentials.region_of(peer).map_err(io::Error::other)?;
    if !expected.has(&region) {
        return Err(io::Error::other(Refusal::Region));
    }
    Ok((region, socket))
}

fn crowd_out(region: &RegionId, address: SocketAddr, refusals: &RefusalLog) {
    if let Some(suppressed) = refusals.pass(address.ip(), "connections") {
        tracing::warn!(%region, %address, suppressed, "a peer has too many connections");
    }
}

fn refuse(address: SocketAddr, error: &io::Error, refusals: &RefusalLog) {
    match Refusal::of(error) {
        Some(refusal) => {
            let reason = refusal.as_str();
            metrics::counter!(names::FLEET_HANDSHAKES_REFUSED, "reason" => reason).increment(1);
            if let Some(suppressed) = refusals.pass(address.ip(), reason) {
                tracing::warn!(%address, reason, suppressed, "a peer of the fleet is refused");
            }
        }
        None => tracing::debug!(%address, %error, "a handshake of the fleet has failed"),
    }
}

async fn serve(
    socket: tokio_rustls::server::TlsStream<TcpStream>,
    peer: ServedPeer,
    credentials: &ArcSwap<Credentials>,
    expected: &ExpectedRegions,
) {
    let shown = socket.get_ref().1.peer_certificates();
    let shown: Shown = shown.unwrap_or_default().to_vec();
    let (drain, region) = (peer.host.drain.clone(), peer.region.clone());
    let streams = StreamTasks {
        write_timeout: peer.host.idle_timeout,
    };
    let peer = Arc::new(peer);
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let service = service_fn(move |request| {
        asks.store(true, Ordering::Relaxed);
        Arc::clone(&peer).answer(request)
    });
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE_MAX)
        .keep_alive_timeout(HANDSHAKE_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_BYTES_MAX)
        .enable_connect_protocol()
        // Clients that go away together reset their requests together.
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .serve_connection(TokioIo::new(Heard::accepted(socket)), service);
    let mut connection = pin!(connection);
    let refused = async {
        tokio::select! {
            () = until_refused(credentials, &shown) => {}
            () = expected.until_unlisted(&region) => {}
        }
    };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stays_silent(&asked) => return tracing::debug!("a peer has asked nothing in time"),
        () = drain.over() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = refused => {
            connection.as_mut().graceful_shutdown();
            let ended = timeout(GOODBYE_MAX, connection).await;
            return tracing::debug!(in_time = ended.is_ok(), "a peer counts no more");
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the fleet has ended");
    }
}

/// Completes when a peer has asked nothing in the time of a handshake: gateways ping four times a second.
async fn stays_silent(asked: &AtomicBool) {
    sleep(HANDSHAKE_MAX).await;
    if asked.load(Ordering::Relaxed) {
        pending::<()>().await;
    }
}
