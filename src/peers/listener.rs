//! The listener of the fleet: only gateways with a certificate of their region may connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tidegate_fleet::{DrainRequest, WatcherId};
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tower::{Service as _, ServiceExt};

use super::credentials::Credentials;
use super::dial::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::event::Event;
use super::grpc::{Answer, CHECK, DRAIN, WATCH, answering, server};
use super::refusal::Refusal;
use crate::endpoint::Public;
use crate::http::{Handshakes, Hop, Listener, PROBE_PATHS};

/// TLS and the preface take no longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// After so long without a frame, this side asks whether the peer is still there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Streams of one connection.
const STREAMS_MAX: u32 = 1_000;

/// Updates that a watcher may be behind by.
const UPDATES_MAX: usize = 64;

/// Serves peers until it is dropped.
pub(super) struct FleetListener {
    pub(super) listener: Listener,
    pub(super) credentials: Arc<ArcSwap<Credentials>>,
    pub(super) events: mpsc::Sender<Event>,
    /// Answers probes.
    pub(super) health: Router,
    /// Answers requests.
    pub(super) public: Public,
}

impl FleetListener {
    /// Accepts connections for ever.
    pub(super) async fn run(mut self) {
        let handshakes = Arc::<Handshakes>::default();
        loop {
            let (socket, address) = self.listener.accept().await;
            let credentials = self.credentials.load_full();
            let events = self.events.clone();
            let health = self.health.clone();
            let public = self.public.clone();
            let handshakes = Arc::clone(&handshakes);
            tokio::spawn(async move {
                let identified = {
                    let mut handshake = handshakes.begin();
                    tokio::select! {
                        () = handshake.displaced() => return,
                        identified = timeout(HANDSHAKE_MAX, identify(socket, &credentials)) => identified,
                    }
                };
                match identified {
                    Ok(Ok((region, socket))) => {
                        let peer = Peer {
                            region,
                            events,
                            health,
                            public,
                        };
                        serve(socket, peer).await;
                    }
                    Ok(Err(error)) => refuse(address, &error),
                    Err(_elapsed) => tracing::debug!(%address, "a handshake took too long"),
                }
            });
        }
    }
}

/// Does the handshake, and returns the region of the peer.
async fn identify(
    socket: TcpStream,
    credentials: &Credentials,
) -> io::Result<(RegionId, tokio_rustls::server::TlsStream<TcpStream>)> {
    socket.set_nodelay(true)?;
    let acceptor = TlsAcceptor::from(Arc::clone(&credentials.server));
    let socket = acceptor.accept(socket).await?;
    let peer = socket.get_ref().1.peer_certificates().unwrap_or_default();
    let region = credentials.region_of(peer).map_err(io::Error::other)?;
    Ok((region, socket))
}

fn refuse(address: SocketAddr, error: &io::Error) {
    match Refusal::of(error) {
        Some(refusal) => {
            let reason = refusal.as_str();
            metrics::counter!(names::FLEET_HANDSHAKES_REFUSED, "reason" => reason).increment(1);
            tracing::warn!(%address, reason, "a peer of the fleet is refused");
        }
        None => tracing::debug!(%address, %error, "a handshake of the fleet has failed"),
    }
}

async fn serve(socket: tokio_rustls::server::TlsStream<TcpStream>, peer: Peer) {
    let peer = Arc::new(peer);
    let service = service_fn(move |request| Arc::clone(&peer).answer(request));
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE_MAX)
        .keep_alive_timeout(HANDSHAKE_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the fleet has ended");
    }
}

/// A gateway that has shown its certificate.
struct Peer {
    region: RegionId,
    events: mpsc::Sender<Event>,
    health: Router,
    public: Public,
}

impl Peer {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Answer {
        // Whatever its path is: what clients may ask for is never a call of a gateway's own.
        if let Some(hop) = Hop::read(&self.region, request.headers()) {
            request.extensions_mut().insert(hop);
            let Ok(answer) = self.public.clone().call(request).await;
            return Ok(answer.map(Body::new));
        }
        let path = request.uri().path();
        let answer = if path == WATCH.path() {
            let watch = answering(move || self.watch());
            server().server_streaming(watch, request).await
        } else if path == DRAIN.path() {
            let drain = tower::service_fn(move |request| Arc::clone(&self).drain(request));
            server().unary(drain, request).await
        } else if path == CHECK.path() {
            let check = answering(|| async { Ok(tonic::Response::new(SERVING)) });
            server().unary(check, request).await
        } else if path == PROBE_PATHS[0] {
            let health = self.health.clone();
            return health.oneshot(request.map(Body::new)).await;
        } else {
            let mut answer = Response::new(tonic::body::Body::empty());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        };
        Ok(answer.map(Body::new))
    }

    async fn watch(
        self: Arc<Self>,
    ) -> Result<tonic::Response<impl futures_util::Stream<Item = Result<Bytes, Status>>>, Status>
    {
        let (updates, receiver) = mpsc::channel(UPDATES_MAX);
        let (admitted, answer) = oneshot::channel();
        let event = Event::Watch {
            region: self.region.clone(),
            updates,
            admitted,
        };
        let ended = || Status::unavailable("the gateway ends");
        self.events.send(event).await.map_err(|_gone| ended())?;
        match answer.await.map_err(|_gone| ended())? {
            Some(watcher) => {
                let events = self.events.clone();
                let updates = Updates {
                    receiver,
                    watcher,
                    events,
                };
                Ok(tonic::Response::new(stream::unfold(
                    updates,
                    |mut updates| async { Some((Ok(updates.receiver.recv().await?), updates)) },
                )))
            }
            None => Err(Status::resource_exhausted(
                "its region is not listed here, or watches too often already",
            )),
        }
    }

    async fn drain(
        self: Arc<Self>,
        request: tonic::Request<Bytes>,
    ) -> Result<tonic::Response<Bytes>, Status> {
        let request = DrainRequest::parse(&request.into_inner());
        let request = request.ok_or_else(|| Status::invalid_argument("no DrainRequest"))?;
        let time = Duration::from_secs(u64::from(request.seconds));
        let (done, answer) = oneshot::channel();
        let event = Event::Drain {
            by: self.region.clone(),
            time,
            done,
        };
        let ended = |()| Status::unavailable("the gateway ends");
        self.events.send(event).await.map_err(|_gone| ended(()))?;
        match answer.await.map_err(|_gone| ended(()))? {
            true => Ok(tonic::Response::new(Bytes::new())),
            false => Err(Status::permission_denied("its region is not listed here")),
        }
    }
}

/// The updates of one `Watch`; the driver hears of its end.
struct Updates {
    receiver: mpsc::Receiver<Bytes>,
    watcher: WatcherId,
    events: mpsc::Sender<Event>,
}

impl Drop for Updates {
    fn drop(&mut self) {
        // Without room for it, the next update finds that its receiver is gone.
        let _no_room = self.events.try_send(Event::Unwatch(self.watcher));
    }
}

/// `HealthCheckResponse { status: SERVING }` of `grpc.health.v1`.
const SERVING: Bytes = Bytes::from_static(&[8, 1]);
