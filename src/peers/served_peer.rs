//! A gateway of another region, as it is served: clients' requests, probes, and the calls of the fleet.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use tidegate_fleet::{DrainRequest, WatcherId};
use tidegate_model::RegionId;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tower::ServiceExt;

use super::event::Event;
use super::fleet_drain::FleetDrain;
use super::grpc::{Answer, CHECK, DRAIN, WATCH, answering, server};
use super::order::DrainError;
use super::peer_limits::PeerConnection;
use crate::endpoint::Public;
use crate::http::{
    AfterHttp, Hop, Overloaded, PROBE_PATHS, Pieces, Problem, TIDEGATE_UNPROCESSED, Unprocessed,
    X_REQUEST_ID, refuse_upgrade, request_id,
};
use crate::upstream::{strip_hop_by_hop, with_websocket};

/// Updates that a watcher may be behind by.
const UPDATES_MAX: usize = 64;

/// What answers peers.
pub(super) struct Host {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) health: Router,
    pub(super) public: Public,
    pub(super) idle_timeout: Duration,
    pub(super) drain: FleetDrain,
    pub(super) _alive: mpsc::Sender<Infallible>,
}

/// A gateway that has shown its certificate.
pub(super) struct ServedPeer {
    pub(super) region: RegionId,
    pub(super) host: Host,
    pub(super) connection: PeerConnection,
}

impl ServedPeer {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
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
        let Ok(mut answer) = self.host.public.answer(request).await;
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
