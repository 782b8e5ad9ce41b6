//! The error of an answer's body, held back until what precedes it is on its way.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Duration, Sleep, sleep};

/// How long an error is held back. HTTP/1 writes in the same poll what the client's connection takes: the head
/// always, unless there are earlier answers to read. On HTTP/2 another task writes, which has been woken by then.
const HELD_FOR: Duration = Duration::from_millis(10);

/// A body whose error comes a little later.
///
/// hyper ends the connection, or the stream, at once when a body fails, and drops what it has not written yet: the
/// head of the answer, too. A client that has got nothing may send its request again, although it was done.
pub(super) struct LateError<B> {
    body: B,
    /// An error and the end of its wait.
    held: Option<(BoxError, Pin<Box<Sleep>>)>,
}

impl<B> LateError<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, held: None }
    }
}

impl<B> Body for LateError<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.held.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => this.held = Some((error.into(), Box::pin(sleep(HELD_FOR)))),
                None => return Poll::Ready(None),
            }
        }
        if let Some((_error, wait)) = &mut this.held {
            ready!(wait.as_mut().poll(cx));
        }
        Poll::Ready(this.held.take().map(|(error, _wait)| Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use futures_util::stream;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Incoming;
    use hyper::server::conn::{http1, http2};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::super::stream_task::StreamTasks;
    use super::*;

    /// A body that gives some bytes and fails in the same poll.
    fn broken() -> impl Body<Data = Bytes, Error = BoxError> + Send + Unpin {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"hello"))),
            Err(io::Error::other("it broke")),
        ];
        LateError::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn the_head_and_what_precedes_an_error_are_sent_over_http1() {
        let (mut client, server) = duplex(64 << 10);
        let service = service_fn(|_request: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(broken()))
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let exchange = async {
            let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (served, answer) = tokio::join!(serving, exchange);
        assert!(served.is_err());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert!(answer.ends_with("\r\n5\r\nhello\r\n"), "{answer:?}");
    }

    #[tokio::test]
    async fn the_head_and_what_precedes_an_error_are_sent_over_http2() {
        let (client, server) = duplex(64 << 10);
        let service = service_fn(|_request: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(broken()))
        });
        let tasks = StreamTasks {
            write_timeout: Duration::from_secs(30),
        };
        let serving = http2::Builder::new(tasks).serve_connection(TokioIo::new(server), service);
        tokio::spawn(serving);
        let (client, connection) = h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = Request::get("http://a/").body(()).unwrap();
        let (answer, _no_body) = client.send_request(request, true).unwrap();
        let answer = answer.await.expect("a head");
        assert_eq!(answer.status(), StatusCode::OK);
        let mut body = answer.into_body();
        assert_eq!(body.data().await.expect("data").unwrap(), "hello");
        let error = body.data().await.expect("an error").unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    }

    #[tokio::test]
    async fn an_error_comes_once() {
        let mut body = broken();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "hello"
        );
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
