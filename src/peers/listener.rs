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
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_fleet::{DrainRequest, WatcherId};
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tower::{Service as _, ServiceExt};

use super::credentials::Credentials;
use super::dial::STREAM_WINDOW;
use super::event::Event;
use super::grpc::{Answer, CHECK, DRAIN, WATCH, answering, server};
use super::heard::Heard;
use super::order::DrainError;
use super::peer_limits::{PeerConnection, PeerLimits};
use super::refusal::Refusal;
use super::vouched::{GOODBYE_MAX, Shown, until_refused};
use crate::endpoint::Public;
use crate::http::{
    AfterHttp, Drain, Handshakes, Hop, Listener, Overloaded, PROBE_PATHS, Pieces, Problem,
    StreamTasks, TIDEGATE_UNPROCESSED, Unprocessed, X_REQUEST_ID, refuse_upgrade, request_id,
};
use crate::tunnels::CONNECTION_WINDOW;
use crate::upstream::{strip_hop_by_hop, with_websocket};

/// TLS and the preface take no longer.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// After so long without a frame, this side asks whether the peer is still there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Streams of one connection.
const STREAMS_MAX: u32 = 1_000;

/// The head of a request: as large as the public listener takes, and what the entry adds.
const HEAD_BYTES_MAX: u32 = 36 * 1024;

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
    /// How long a peer may take no byte of an answer.
    pub(super) idle_timeout: Duration,
    pub(super) limits: PeerLimits,
    pub(super) drain: FleetDrain,
    /// Dropped with the last connection.
    pub(super) alive: mpsc::Sender<Infallible>,
}

/// How the listener ends: it goes on for a while after the drain has begun, in which peers move away.
#[derive(Clone, Debug)]
pub struct FleetDrain {
    /// Begins with the process's drain.
    pub drain: Drain,
    /// How long it goes on from then.
    pub delay: Duration,
}

impl FleetDrain {
    async fn over(&self) {
        self.drain.begun().await;
        sleep(self.delay).await;
    }
}

impl FleetListener {
    /// Accepts connections until the drain is over.
    pub(super) async fn run(mut self) {
        let handshakes = Arc::<Handshakes>::default();
        let drain = self.drain.clone();
        let mut over = pin!(drain.over());
        loop {
            let (socket, address) = tokio::select! {
                () = &mut over => return,
                accepted = self.listener.accept() => accepted,
            };
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
            let (handshakes, limits) = (Arc::clone(&handshakes), self.limits.clone());
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
                        let Some(connection) = limits.connect(&region, address.ip()) else {
                            return tracing::warn!(%region, %address, "a peer has too many connections");
                        };
                        let peer = Peer {
                            region,
                            host,
                            connection,
                        };
                        serve(socket, peer, &vouching).await;
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

async fn serve(
    socket: tokio_rustls::server::TlsStream<TcpStream>,
    peer: Peer,
    credentials: &ArcSwap<Credentials>,
) {
    let shown = socket.get_ref().1.peer_certificates();
    let shown: Shown = shown.unwrap_or_default().to_vec();
    let drain = peer.host.drain.clone();
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
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stays_silent(&asked) => return tracing::debug!("a peer has asked nothing in time"),
        () = drain.over() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = until_refused(credentials, &shown) => {
            connection.as_mut().graceful_shutdown();
            let ended = timeout(GOODBYE_MAX, connection).await;
            return tracing::debug!(in_time = ended.is_ok(), "a peer's certificate counts no more");
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

/// What answers peers.
struct Host {
    events: mpsc::Sender<Event>,
    health: Router,
    public: Public,
    idle_timeout: Duration,
    drain: FleetDrain,
    _alive: mpsc::Sender<Infallible>,
}

/// A gateway that has shown its certificate.
struct Peer {
    region: RegionId,
    host: Host,
    connection: PeerConnection,
}

impl Peer {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        // Whatever its path is: what clients may ask for is never a call of a gateway's own.
        if let Some(hop) = Hop::read(&self.region, request.headers()) {
            return self.serve(request, hop).await;
        }
        let path = request.uri().path();
        let answer = match *request.method() {
            Method::GET if path == PROBE_PATHS[0] => {
                let health = self.host.health.clone();
                return health.oneshot(request.map(Body::new)).await;
            }
            Method::GET => return self.serve(request, Hop::probe(&self.region)).await,
            _ if path == WATCH.path() => {
                let watch = answering(move || self.watch());
                server().server_streaming(watch, request).await
            }
            _ if path == DRAIN.path() => {
                let drain = tower::service_fn(move |request| Arc::clone(&self).drain(request));
                server().unary(drain, request).await
            }
            _ if path == CHECK.path() => {
                let serves = !self.host.drain.drain.is_draining();
                let status = if serves { SERVING } else { NOT_SERVING };
                let check = answering(move || async move { Ok(tonic::Response::new(status)) });
                server().unary(check, request).await
            }
            _ => {
                let mut answer = Response::new(tonic::body::Body::empty());
                *answer.status_mut() = StatusCode::NOT_FOUND;
                answer
            }
        };
        Ok(answer.map(Body::new))
    }

    /// Serves what a client has asked another gateway for, or a probe.
    async fn serve(&self, mut request: Request<Incoming>, hop: Hop) -> Answer {
        let Some(room) = self.connection.enter() else {
            return Ok(overloaded(request.headers()));
        };
        request.extensions_mut().insert(hop);
        let connects = request.method() == Method::CONNECT;
        if connects && !become_upgrade(&mut request) {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NOT_IMPLEMENTED;
            return Ok(answer);
        }
        let Ok(mut answer) = self.host.public.clone().call(request).await;
        if connects && let Some(rest) = answer.extensions_mut().remove::<AfterHttp>() {
            *answer.status_mut() = StatusCode::OK;
            strip_hop_by_hop(answer.headers_mut());
            tokio::spawn(async move {
                rest.run().await;
                drop(room);
            });
            return Ok(answer.map(|_empty| Body::empty()));
        }
        if connects {
            refuse_upgrade(&mut answer);
        }
        Ok(answer.map(|body| Body::new(Pieces::new(body, Version::HTTP_2, room))))
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
        self.host
            .events
            .send(event)
            .await
            .map_err(|_gone| ended())?;
        match answer.await.map_err(|_gone| ended())? {
            Some(watcher) => {
                let events = self.host.events.clone();
                let updates = Updates {
                    receiver,
                    watcher,
                    events,
                    drain: self.host.drain.clone(),
                };
                Ok(tonic::Response::new(stream::unfold(
                    updates,
                    |mut updates| async { Some((Ok(updates.next().await?), updates)) },
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
            force: request.force,
            done,
        };
        let ended = |()| Status::unavailable("the gateway ends");
        self.host
            .events
            .send(event)
            .await
            .map_err(|_gone| ended(()))?;
        match answer.await.map_err(|_gone| ended(()))? {
            Ok(()) => Ok(tonic::Response::new(Bytes::new())),
            Err(error @ DrainError::Unknown(_)) => {
                Err(Status::permission_denied(error.to_string()))
            }
            Err(error) => Err(Status::failed_precondition(error.to_string())),
        }
    }
}

/// The updates of one `Watch`; the driver hears of its end.
struct Updates {
    receiver: mpsc::Receiver<Bytes>,
    watcher: WatcherId,
    events: mpsc::Sender<Event>,
    drain: FleetDrain,
}

impl Updates {
    /// Ends with the drain, so that the connection can end.
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            () = self.drain.over() => None,
            update = self.receiver.recv() => update,
        }
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        // Without room for it, the next update finds that its receiver is gone.
        let _no_room = self.events.try_send(Event::Unwatch(self.watcher));
    }
}

/// `HealthCheckResponse { status: SERVING }` of `grpc.health.v1`.
const SERVING: Bytes = Bytes::from_static(&[8, 1]);

/// `HealthCheckResponse { status: NOT_SERVING }`.
const NOT_SERVING: Bytes = Bytes::from_static(&[8, 2]);

/// Turns the extended CONNECT of a WebSocket (RFC 8441) into the request that its client has sent; returns
/// whether it is one.
fn become_upgrade(request: &mut Request<Incoming>) -> bool {
    let protocol = request.extensions_mut().remove::<Protocol>();
    let host = request.uri().authority().map(|host| host.as_str().parse());
    let (Some(Ok(host)), Some(target)) = (host, request.uri().path_and_query()) else {
        return false;
    };
    *request.uri_mut() = target.clone().into();
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    let headers = with_websocket(std::mem::take(request.headers_mut()));
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, host);
    protocol.is_some_and(|it| it.as_str() == "websocket")
}

/// The answer to one request too many of a region.
fn overloaded(headers: &HeaderMap) -> Response<Body> {
    let problem = Problem::from(Overloaded);
    let id = request_id(headers);
    let body = problem.body(id.to_str().unwrap_or_default());
    let mut answer = problem.into_response();
    *answer.body_mut() = Body::from(body);
    let headers = answer.headers_mut();
    headers.insert(&TIDEGATE_UNPROCESSED, Unprocessed::Overloaded.field());
    headers.insert(&X_REQUEST_ID, id);
    answer
}
