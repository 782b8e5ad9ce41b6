//! What of gRPC the fleet speaks: messages pass as bytes, which the core encodes and reads.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tonic::Status;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The streams of health.
pub(super) const WATCH: PathAndQuery = PathAndQuery::from_static("/tidegate.fleet.v1.Health/Watch");
/// Draining the region of the gateway that is asked.
pub(super) const DRAIN: PathAndQuery = PathAndQuery::from_static("/tidegate.fleet.v1.Health/Drain");
/// The standard check of gRPC, which serves as the ping of a connection.
pub(super) const CHECK: PathAndQuery = PathAndQuery::from_static("/grpc.health.v1.Health/Check");

/// The scheme and authority of what one gateway asks of another: HTTP/2 has no request without them.
pub(super) const ORIGIN: &str = "https://fleet";

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A connection to a peer, as a gRPC client calls it.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) SendRequest<Body>);

impl GrpcService<tonic::body::Body> for Caller {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request.map(Body::new)))
    }
}

/// A gRPC server of bytes.
pub(super) fn server() -> tonic::server::Grpc<BytesCodec> {
    let server = tonic::server::Grpc::new(BytesCodec);
    server.apply_max_message_size_config(Some(tidegate_fleet::UPDATE_BYTES_MAX), None)
}

/// A gRPC client over a connection.
pub(super) fn client(connection: SendRequest<Body>) -> tonic::client::Grpc<Caller> {
    let client =
        tonic::client::Grpc::with_origin(Caller(connection), ORIGIN.parse().unwrap_or_default());
    client.max_decoding_message_size(tidegate_fleet::UPDATE_BYTES_MAX)
}

/// A service that answers one call, for tonic.
pub(super) fn answering<F, T>(
    answer: impl FnOnce() -> F + Clone,
) -> impl tower::Service<tonic::Request<Bytes>, Response = tonic::Response<T>, Error = Status, Future = F>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    tower::service_fn(move |_request: tonic::Request<Bytes>| answer.clone()())
}

/// Never fails: errors are answers.
pub(super) type Answer = Result<Response<Body>, Infallible>;
