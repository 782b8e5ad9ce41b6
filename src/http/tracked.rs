//! A service and body that report to their connection's activity.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::extract::ConnectInfo;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use pin_project_lite::pin_project;

use super::Drain;
use super::activity::{Activity, InFlight};
use super::after_http::AfterHttp;
use super::client_body::ClientBody;
use super::pieces::Pieces;
use super::stream_task::note_answer;
use super::transfer_coding::is_chunked;

/// A body that keeps its request in flight until it is sent or dropped.
pub(super) type TrackedBody<B> = Pieces<B, Option<InFlight>>;

/// The service of one connection: adds the peer's address to each request, as
/// [`ConnectInfo<SocketAddr>`](ConnectInfo), and tracks requests in flight.
pub(super) struct Tracked<S> {
    /// The connection's own, which is not cloned for every request: clones count references that all connections share.
    pub(super) service: RefCell<S>,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) ending: Arc<Ending>,
    pub(super) is_tls: bool,
}

/// What ends HTTP on one connection.
pub(super) struct Ending {
    pub(super) drain: Drain,
    pub(super) left: OnceLock<Left>,
}

/// Stands in the extensions of a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

impl<S, B> hyper::service::Service<Request<Incoming>> for Tracked<S>
where
    S: tower::Service<Request<ClientBody>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    type Response = Response<TrackedBody<B>>;
    type Error = Infallible;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let in_flight = self.activity.begin(version);
        let has_body = !request.body().is_end_stream();
        let sends_body = version <= Version::HTTP_11 && has_body;
        self.activity.note_body(sends_body);
        // Services refuse such a request. Its end is where hyper sees it, which may be somewhere else to
        // the client.
        let closes = sends_body && is_chunked(request.headers()).is_err();
        let open = has_body.then(|| self.activity.open_body());
        let mut request = request.map(|body| ClientBody::new(body, open));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if self.is_tls {
            request.extensions_mut().insert(OverTls);
        }
        TrackedFuture {
            // Services of this process are always ready: requests that cannot be served are
            // answered with an error.
            answer: self.service.borrow_mut().call(request),
            version,
            ending: Arc::clone(&self.ending),
            in_flight: Some(in_flight),
            sends_body,
            closes,
            held: None,
        }
    }
}

/// The continuation after an answer that leaves HTTP. Its request remains in flight: no further
/// head follows.
pub(super) struct Left {
    pub(super) tunnel: AfterHttp,
    _in_flight: Option<InFlight>,
}

pin_project! {
    /// Waits for the service's answer.
    pub(super) struct TrackedFuture<F>
    where
        F: Future,
    {
        #[pin]
        answer: F,
        version: Version,
        ending: Arc<Ending>,
        in_flight: Option<InFlight>,
        sends_body: bool,
        // Whether the connection closes whatever the answer is.
        closes: bool,
        // The answer, held back for one poll.
        held: Option<F::Output>,
    }
}

impl<F, B> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: Body,
{
    type Output = Result<Response<TrackedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.held.take() {
            Some(answer) => answer,
            None => {
                let answer = this.answer.poll(cx);
                note_answer(&answer);
                let answer = ready!(answer);
                if *this.sends_body {
                    // hyper looks for a body that was dropped before it polls again. If there is
                    // more of it, the head of the answer then says that the connection closes.
                    *this.held = Some(answer);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                answer
            }
        };
        let Ok(mut response) = answer;
        // hyper sees that a body is dropped, but not that one is still read when the answer is there; it closes
        // after one that has failed, but does not say so.
        let is_early =
            *this.sends_body && this.in_flight.as_ref().is_some_and(InFlight::has_open_body);
        let mut in_flight = this.in_flight.take();
        let tunnel = response.extensions_mut().remove::<AfterHttp>();
        let switches = tunnel.is_some();
        if let Some(tunnel) = tunnel {
            let _in_flight = in_flight.take();
            // A connection leaves HTTP only once.
            let _first = this.ending.left.set(Left { tunnel, _in_flight });
        }
        // An answer without a length ends an HTTP/1.0 client's connection, although hyper may say that it stays open.
        let has_end = *this.version != Version::HTTP_10 || has_length(&response);
        let ended_by = in_flight.as_ref().filter(|_| !has_end);
        let ended_by = ended_by.map(|it| Arc::clone(it.connection()));
        // During a drain clients move away one by one, rather than all together when the listener
        // stops.
        let closes = *this.closes || is_early || !has_end || this.ending.drain.is_draining();
        if *this.version <= Version::HTTP_11 && !switches && closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            // To a newer version hyper would add `keep-alive`.
            *response.version_mut() = *this.version;
        }
        let version = *this.version;
        Poll::Ready(Ok(response.map(|body| {
            Pieces::new(body, version, in_flight).ended_by(ended_by)
        })))
    }
}

/// Whether the length of an answer is in its head.
fn has_length<B: Body>(response: &Response<B>) -> bool {
    let body = response.body();
    body.is_end_stream()
        || body.size_hint().exact().is_some()
        || response.headers().contains_key(CONTENT_LENGTH)
}
