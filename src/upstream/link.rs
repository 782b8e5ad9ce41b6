//! One connection to a node, which the task of the request drives that uses it.
//!
//! A request without a body needs nothing of its connection but what it waits for itself, so no other
//! task is woken to send it and to read its answer. A request whose body comes from a client has its connection
//! driven by a task of its own: the node gets the body even while the client does not read the answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use tokio::task::coop::unconstrained;

use super::links::{Links, Reusable};
use super::upload::UploadBody;

/// The body of a request to a node, if it has one.
pub(super) type RequestBody = Either<Empty<Bytes>, UploadBody>;

/// Reads and writes a connection until it ends.
pub(super) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send + Sync>>;

/// An open connection without a request.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    /// None once the connection has ended.
    driver: Option<Driver>,
    /// Where it waits for the next request.
    links: Arc<Links<Self>>,
}

/// Why a connection has brought no answer.
pub(super) struct Refused {
    pub(super) error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
}

/// The body of an answer, which keeps its connection until it has ended.
pub struct AnswerBody {
    /// What was read of it before.
    first: Option<Bytes>,
    body: Incoming,
    /// The connection, unless a task of its own drives it.
    link: Option<Link>,
}

impl Link {
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        driver: Driver,
        links: Arc<Links<Self>>,
    ) -> Self {
        Self {
            sender,
            driver: Some(driver),
            links,
        }
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the connection.
    pub(super) async fn exchange(
        mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<AnswerBody>, Refused> {
        let has_upload = matches!(request.body(), Either::Right(_));
        // Unconstrained: what the driver has brought must be found in the same poll.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        let answer = if has_upload {
            tokio::spawn(self.run());
            answer.await.map(|answer| (answer, None))
        } else {
            let answer = poll_fn(|cx| {
                self.drive(cx);
                answer.as_mut().poll(&mut self.context(cx))
            });
            answer.await.map(|answer| (answer, Some(self)))
        };
        let (answer, mut link) = answer.map_err(|mut refused| Refused {
            unsent: refused.take_message().map(Box::new),
            error: refused.into_error(),
        })?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(link) = link.take()
        {
            // What follows is not HTTP.
            tokio::spawn(link.run());
        }
        Ok(answer.map(|body| AnswerBody::new(body, link)))
    }

    /// Reads and writes as far as possible.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let driver = self.driver.as_mut();
        if driver.is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
            self.driver = None;
        }
    }

    /// The context in which to wait for what the connection brings: only driving it brings anything, so nothing
    /// else needs to wake the task.
    fn context<'c>(&self, cx: &Context<'c>) -> Context<'c> {
        match &self.driver {
            Some(_) => ignored(),
            None => Context::from_waker(cx.waker()),
        }
    }

    /// Drives the connection until it can take the next request or has ended.
    async fn run(mut self) {
        let is_ready = poll_fn(|cx| {
            self.drive(cx);
            match &self.driver {
                Some(_) => self.sender.poll_ready(cx).map(|ready| ready.is_ok()),
                None => Poll::Ready(false),
            }
        });
        if is_ready.await {
            self.keep();
        }
    }

    /// Lets the connection wait for the next request, if it can take one.
    pub(super) fn keep(mut self) {
        // From here on, it wakes no task.
        if self.is_open() {
            let links = Arc::clone(&self.links);
            links.keep(self);
        }
    }
}

impl Reusable for Link {
    fn is_open(&mut self) -> bool {
        self.drive(&mut ignored());
        self.sender.is_ready()
    }
}

impl AnswerBody {
    fn new(body: Incoming, link: Option<Link>) -> Self {
        let mut body = Self {
            first: None,
            body,
            link,
        };
        body.release_at_end();
        body
    }

    /// Reads the first data if it came with the head. Does not wait.
    ///
    /// # Errors
    /// If what came is not valid.
    pub(super) fn begin(&mut self) -> Result<(), hyper::Error> {
        if self.is_end_stream() {
            return Ok(());
        }
        match Pin::new(&mut *self).poll_frame(&mut ignored()) {
            Poll::Ready(Some(Ok(frame))) => {
                self.first = frame.into_data().ok();
                Ok(())
            }
            Poll::Ready(Some(Err(error))) => Err(error),
            Poll::Ready(None) | Poll::Pending => Ok(()),
        }
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut cx = match &self.link {
            Some(link) => link.context(cx),
            None => Context::from_waker(cx.waker()),
        };
        Pin::new(&mut self.body).poll_frame(&mut cx)
    }

    /// Lets the connection wait for the next request once nothing of the answer is left.
    fn release_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(link) = self.link.take()
        {
            link.keep();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let mut polled = self.poll_body(cx);
        if polled.is_pending()
            && let Some(link) = &mut self.link
        {
            link.drive(cx);
            polled = self.poll_body(cx);
        }
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.release_at_end(),
            Poll::Ready(Some(Err(_))) => self.link = None,
            Poll::Ready(None) => {
                if let Some(link) = self.link.take() {
                    link.keep();
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, first) = (self.body.size_hint(), self.first.as_ref());
        let first = first.map_or(0, |first| first.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(f)
    }
}

/// A context in which nothing is waited for.
fn ignored<'c>() -> Context<'c> {
    Context::from_waker(Waker::noop())
}

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt;
    use http::Method;
    use http_body_util::BodyExt;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::{Duration, timeout};

    use super::*;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// A connection, and the end of it that the node has.
    async fn connected(links: &Arc<Links<Link>>) -> (Link, DuplexStream) {
        let (own, node) = duplex(1 << 16);
        let opened = http1::Builder::new().handshake(TokioIo::new(own)).await;
        let (sender, connection) = opened.unwrap();
        let driver = Box::pin(connection.with_upgrades());
        (Link::new(sender, driver, Arc::clone(links)), node)
    }

    fn request(method: Method) -> Request<RequestBody> {
        let mut request = Request::new(Either::Left(Empty::new()));
        *request.method_mut() = method;
        request
    }

    async fn read_request(node: &mut DuplexStream) {
        let mut read = Vec::<u8>::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert!(node.read_buf(&mut read).await.unwrap() > 0);
        }
    }

    /// Sends a request and answers it as the node.
    async fn answered(
        link: Link,
        node: &mut DuplexStream,
        (method, answer): (Method, &str),
    ) -> AnswerBody {
        let answers = async {
            read_request(node).await;
            node.write_all(answer.as_bytes()).await.unwrap();
        };
        let (answered, ()) = tokio::join!(link.exchange(request(method)), answers);
        answered.ok().unwrap().into_body()
    }

    #[tokio::test]
    async fn what_came_before_a_request_is_no_answer_to_it() {
        for (method, answer) in [
            (Method::GET, ANSWER),
            (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
            (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                Method::GET,
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n",
            ),
        ] {
            let links: Arc<Links<Link>> = Arc::default();
            let (link, mut node) = connected(&links).await;
            let body = answered(link, &mut node, (method, answer)).await;
            body.collect().await.unwrap();
            // No task drives the connection that waits, so this has not been read.
            node.write_all(ANSWER.as_bytes()).await.unwrap();
            let kept = links.take().unwrap();
            let refused = kept.exchange(request(Method::POST)).await.err().unwrap();
            assert!(refused.unsent.is_some(), "{answer}");
            let mut sent = Vec::new();
            node.read_to_end(&mut sent).await.unwrap();
            assert!(sent.is_empty(), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_node_sends_wakes_the_task_that_waits_for_it() {
        let links: Arc<Links<Link>> = Arc::default();
        let (link, mut node) = connected(&links).await;
        let (read, was_read) = oneshot::channel();
        let reads = tokio::spawn(async move {
            let answer = link.exchange(request(Method::GET)).await.ok().unwrap();
            let mut body = answer.into_body();
            let first = body.frame().await.unwrap().unwrap();
            read.send(()).unwrap();
            let rest = body.collect().await.unwrap();
            (first.into_data().unwrap(), rest.to_bytes())
        });
        let both = async {
            read_request(&mut node).await;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            node.write_all(head.as_bytes()).await.unwrap();
            yield_now().await;
            node.write_all(b"3\r\none\r\n").await.unwrap();
            was_read.await.unwrap();
            yield_now().await;
            node.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
            reads.await.unwrap()
        };
        // The clock is paused: this ends once every task waits.
        let both = timeout(Duration::from_secs(60), both).await;
        let (first, rest) = both.expect("no task waits without end");
        assert_eq!(first, "one");
        assert_eq!(rest, "two");
        assert!(links.take().is_ok());
    }

    #[tokio::test]
    async fn a_connection_ends_with_a_request_or_an_answer_that_is_given_up() {
        let links: Arc<Links<Link>> = Arc::default();
        let (link, mut node) = connected(&links).await;
        let mut exchange = Box::pin(link.exchange(request(Method::GET)));
        assert!(exchange.as_mut().now_or_never().is_none());
        drop(exchange);
        let mut sent = String::new();
        node.read_to_string(&mut sent).await.unwrap();
        assert!(sent.starts_with("GET / HTTP/1.1\r\n"), "{sent}");

        let (link, mut node) = connected(&links).await;
        let half = ANSWER.trim_end_matches('k');
        drop(answered(link, &mut node, (Method::GET, half)).await);
        assert_eq!(node.read(&mut [0]).await.unwrap(), 0);
        assert!(links.take().is_err());
    }
}
