//! Sends requests to nodes, over connections that are kept for the next request.
//!
//! A server closes a connection that was idle for too long, perhaps while a request is under way to
//! it. Or it has written more than its answer there, such as a body to a 204, which then stands before the
//! next answer. Neither says anything about the request, so it is sent again, on a new connection, if
//! that is safe. Deliberately absent: any other reason to repeat a request.

use std::error::Error;

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Duration;

use super::connector::{ConnectionUse, Connector};
use super::upload::UploadBody;

/// How long a connection is kept for the next request: less than the five seconds after which
/// Node.js, which has one of the shortest timeouts, closes it, so that few requests are sent on one
/// being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Most fields of an answer: as many as fit into a head of `header_bytes_max` on HTTP/2, where each
/// counts 32 bytes or more. hyper allocates space for all of them before it reads, which costs
/// about 4 µs per answer (4,096 would cost 13).
const FIELDS_MAX: usize = 1 << 10;

/// Idle connections kept to one node.
const IDLE_MAX: usize = 256;

/// The body of a request to a node, if it has one.
pub(super) type RequestBody = Either<Empty<Bytes>, UploadBody>;

/// Sends requests over HTTP/1.1: WebSockets need it, and only there is it certain what was sent. It
/// follows no redirects and ignores proxies in the environment.
#[derive(Debug)]
pub(super) struct Client {
    /// Keeps its connections.
    kept: legacy::Client<Connector, RequestBody>,
    /// Opens a connection for every request.
    fresh: legacy::Client<Connector, RequestBody>,
}

impl Client {
    pub(super) fn new(connector: Connector) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            // hyper repeats only requests of which it has sent nothing.
            .retry_canceled_requests(true)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .http1_max_headers(FIELDS_MAX);
        Self {
            kept: builder
                .pool_max_idle_per_host(IDLE_MAX)
                .build(connector.clone()),
            fresh: builder.pool_max_idle_per_host(0).build(connector),
        }
    }

    /// Sends a request and waits for the head of its answer. If a kept connection ends before that, or brings
    /// what is not HTTP, the request is sent once more on a new one, unless it must not be repeated.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> Request<RequestBody>,
        may_be_repeated: impl FnOnce() -> bool,
    ) -> Result<Response<Incoming>, legacy::Error> {
        match self.kept.request(request()).await {
            Ok(mut answer) => {
                if let Some(use_so_far) = answer.extensions_mut().remove::<ConnectionUse>() {
                    use_so_far.record_answer();
                }
                Ok(answer)
            }
            Err(error) if is_of_kept_connection(&error) && may_be_repeated() => {
                tracing::debug!(%error, "a kept connection was of no use; trying a new one");
                self.fresh.request(request()).await
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a connection that had answered before brought no answer to this request.
fn is_of_kept_connection(error: &legacy::Error) -> bool {
    let mut facts = Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut facts);
    }
    let kept = facts.get::<ConnectionUse>();
    kept.is_some_and(ConnectionUse::has_answered)
}

/// Whether nothing of the request was sent.
pub(super) fn is_unsent(error: &legacy::Error) -> bool {
    error.is_connect() || of_hyper(error).is_some_and(hyper::Error::is_canceled)
}

/// The error of the connection, if there was one.
pub(super) fn of_hyper(error: &legacy::Error) -> Option<&hyper::Error> {
    let mut sources = std::iter::successors(error.source(), |&error| error.source());
    sources.find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread::{JoinHandle, spawn};

    use http::Method;
    use http_body_util::BodyExt;
    use rustls::RootCertStore;

    use super::*;

    /// How a server treats one connection.
    #[derive(Clone, Copy, PartialEq)]
    enum Manner {
        /// It answers once and closes.
        AnswersOnce,
        /// It answers once, and closes when it has read the next request.
        DropsTheSecond,
        /// It answers once, and the next request with the rest of that answer before the own one.
        Mixes,
        /// It closes when it has read a request.
        Drops,
        /// It answers in no HTTP.
        Babbles,
    }

    /// A server of one connection after the other. It returns how many requests it has read.
    struct Server {
        uri: String,
        closed: mpsc::Receiver<()>,
        served: JoinHandle<usize>,
    }

    impl Server {
        fn start(manners: Vec<Manner>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let uri = format!("http://{}/", listener.local_addr().unwrap());
            let (sender, closed) = mpsc::channel();
            let served = spawn(move || {
                let serve = |manner| {
                    let read = serve(&mut listener.accept().unwrap().0, manner);
                    sender.send(()).unwrap();
                    read
                };
                manners.into_iter().map(serve).sum()
            });
            Self {
                uri,
                closed,
                served,
            }
        }
    }

    fn serve(socket: &mut TcpStream, manner: Manner) -> usize {
        let read = |socket: &mut TcpStream| usize::from(socket.read(&mut [0; 4096]).unwrap() > 0);
        let mut requests = read(socket);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let rest = b"rest\r\n\r\n";
        match manner {
            Manner::Drops => {}
            Manner::Babbles => socket.write_all(rest).unwrap(),
            Manner::AnswersOnce | Manner::DropsTheSecond | Manner::Mixes => {
                socket.write_all(answer).unwrap();
            }
        }
        if matches!(manner, Manner::DropsTheSecond | Manner::Mixes) {
            requests += read(socket);
        }
        if manner == Manner::Mixes {
            socket.write_all(&[&rest[..], answer].concat()).unwrap();
        }
        requests
    }

    fn client() -> Client {
        Client::new(Connector::new(Duration::from_secs(5), RootCertStore::empty()).unwrap())
    }

    async fn send(client: &Client, method: &Method, uri: &str) -> Result<(), legacy::Error> {
        let request = || {
            let request = Request::builder().method(method).uri(uri);
            request.body(Either::Left(Empty::new())).unwrap()
        };
        let answer = client.send(request, || method.is_safe()).await?;
        answer.into_body().collect().await.unwrap();
        Ok(())
    }

    /// Nothing else runs on this thread while it waits for the server, so the client may not have
    /// seen the end of the connection when it sends.
    #[tokio::test(flavor = "current_thread")]
    async fn a_safe_request_just_after_the_end_of_a_kept_connection_goes_over_a_new_one() {
        let server = Server::start(vec![Manner::AnswersOnce; 2]);
        let client = client();
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
            server.closed.recv().unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 2);
    }

    #[tokio::test]
    async fn a_safe_request_that_meets_the_end_of_a_kept_connection_is_sent_again() {
        let server = Server::start(vec![Manner::DropsTheSecond, Manner::AnswersOnce]);
        let client = client();
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 3);
    }

    #[tokio::test]
    async fn a_safe_request_that_meets_the_rest_of_an_earlier_answer_is_sent_again() {
        let server = Server::start(vec![Manner::Mixes, Manner::AnswersOnce]);
        let client = client();
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 3);
    }

    #[tokio::test]
    async fn an_unsafe_request_that_was_sent_is_not_sent_again() {
        for manner in [Manner::DropsTheSecond, Manner::Mixes] {
            let server = Server::start(vec![manner]);
            let client = client();
            send(&client, &Method::GET, &server.uri).await.unwrap();
            let error = send(&client, &Method::POST, &server.uri).await.unwrap_err();
            assert!(!is_unsent(&error), "{error:?}");
            assert_eq!(server.served.join().unwrap(), 2);
        }
    }

    #[tokio::test]
    async fn a_new_connection_without_an_answer_is_a_failure() {
        for manner in [Manner::Drops, Manner::Babbles] {
            let server = Server::start(vec![manner]);
            let error = send(&client(), &Method::GET, &server.uri)
                .await
                .unwrap_err();
            assert!(!is_unsent(&error), "{error:?}");
            assert_eq!(server.served.join().unwrap(), 1);
        }
    }
}
