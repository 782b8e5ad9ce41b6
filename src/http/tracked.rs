//! A service and body that report to their connection's activity.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;

use super::Drain;
use super::activity::{Activity, InFlight};
use super::after_http::AfterHttp;
use super::stream_task::note_answer;

/// Bytes of an HTTP/2 answer given to hyper at once: one frame. hyper queues everything that it is
/// given, however small the client's window, so that a whole answer would appear to be sent at
/// once.
const STREAM_PIECE_MAX: usize = 16 * 1024;

/// The service of one connection: adds the peer's address to each request, as
/// [`ConnectInfo<SocketAddr>`](ConnectInfo), and tracks requests in flight.
pub(super) struct Tracked<S> {
    pub(super) service: S,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) drain: Drain,
    pub(super) left: Arc<OnceLock<Left>>,
    pub(super) is_tls: bool,
}

/// Stands in the extensions of a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

impl<S, B> hyper::service::Service<Request<Incoming>> for Tracked<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<TrackedBody<B>>;
    type Error = Infallible;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let version = request.version();
        let in_flight = self.activity.begin(version);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if self.is_tls {
            request.extensions_mut().insert(OverTls);
        }
        TrackedFuture {
            // Services of this process are always ready: requests that cannot be served are
            // answered with an error.
            answer: self.service.clone().call(request),
            version,
            drain: self.drain.clone(),
            left: Arc::clone(&self.left),
            in_flight: Some(in_flight),
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
    pub(super) struct TrackedFuture<F> {
        #[pin]
        answer: F,
        version: Version,
        drain: Drain,
        left: Arc<OnceLock<Left>>,
        in_flight: Option<InFlight>,
    }
}

impl<F, B> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<TrackedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = this.answer.poll(cx);
        note_answer(&answer);
        let Ok(mut response) = ready!(answer);
        let mut in_flight = this.in_flight.take();
        let tunnel = response.extensions_mut().remove::<AfterHttp>();
        let switches = tunnel.is_some();
        if let Some(tunnel) = tunnel {
            let _in_flight = in_flight.take();
            // A connection leaves HTTP only once.
            let _first = this.left.set(Left { tunnel, _in_flight });
        }
        // This way clients move away one by one, rather than all together when the listener stops.
        if *this.version <= Version::HTTP_11 && !switches && this.drain.is_draining() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let version = *this.version;
        Poll::Ready(Ok(
            response.map(|body| TrackedBody::new(body, version, in_flight))
        ))
    }
}

/// A body that keeps its request in flight until it is sent or dropped.
pub(super) struct TrackedBody<B> {
    body: B,
    /// The rest of the last frame of `body`.
    rest: Bytes,
    piece_max: usize,
    _in_flight: Option<InFlight>,
}

impl<B> TrackedBody<B> {
    fn new(body: B, version: Version, in_flight: Option<InFlight>) -> Self {
        let piece_max = if version == Version::HTTP_2 {
            STREAM_PIECE_MAX
        } else {
            usize::MAX
        };
        Self {
            body,
            rest: Bytes::new(),
            piece_max,
            _in_flight: in_flight,
        }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        if self.piece_max == usize::MAX {
            return Frame::data(std::mem::take(&mut self.rest));
        }
        let piece = self.rest.split_to(self.rest.len().min(self.piece_max));
        // A copy: a piece that the client does not take must not keep the whole answer in memory.
        Frame::data(Bytes::copy_from_slice(&piece))
    }
}

impl<B> hyper::body::Body for TrackedBody<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let frame = Pin::new(&mut self.body).poll_frame(cx);
            note_answer(&frame);
            match ready!(frame).map(|it| it.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        } else {
            note_answer(&Poll::Ready(()));
        }
        Poll::Ready(Some(Ok(self.next_piece())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
