//! Sends requests to nodes, over connections that are kept for the next request.
//!
//! A server closes a connection that was idle for too long, perhaps while a request is under way to
//! it. Or it has written more than its answer there, such as a body to a 204, which then stands before the
//! next answer. Neither says anything about the request, so it is sent again, on a new connection, if
//! that is safe. Deliberately absent: any other reason to repeat a request.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use hyper::client::conn::http1;
use tower::{BoxError, ServiceExt};

use super::connector::Connector;
use super::link::{AnswerBody, Link, Refused, RequestBody};
use super::links::Links;

/// Most fields of an answer: as many as fit into a head of `header_bytes_max` on HTTP/2, where each
/// counts 32 bytes or more. hyper allocates space for all of them before it reads, which costs
/// about 4 µs per answer (4,096 would cost 13).
const FIELDS_MAX: usize = 1 << 10;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("no connection could be opened")]
    Connect(#[source] BoxError),
    /// The connection has failed.
    #[error("the connection failed")]
    Connection(#[source] hyper::Error),
}

impl ClientError {
    /// Whether nothing of the request was sent.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Connection(error) => error.is_canceled(),
        }
    }

    /// Whether what came is not HTTP.
    pub(super) fn is_parse(&self) -> bool {
        match self {
            Self::Connect(_) => false,
            Self::Connection(error) => error.is_parse(),
        }
    }
}

/// Sends requests to one node over HTTP/1.1: WebSockets need it, and only there is it certain what was
/// sent. It follows no redirects and ignores proxies in the environment.
#[derive(Debug)]
pub(super) struct Client {
    connector: Connector,
    http: http1::Builder,
    /// The node's URL.
    origin: Uri,
    host: HeaderValue,
    /// The connections that are kept for the next requests.
    links: Arc<Links<Link>>,
}

impl Client {
    pub(super) fn new(connector: Connector, origin: Uri) -> Self {
        let mut http = http1::Builder::new();
        http.max_headers(FIELDS_MAX);
        Self {
            connector,
            http,
            host: host(&origin),
            origin,
            links: Arc::default(),
        }
    }

    /// Sends a request and waits for the head of its answer. If a kept connection ends before that, or brings
    /// what is not HTTP, the request is sent once more on a new one, unless it must not be repeated.
    pub(super) async fn send(
        &self,
        request: impl Fn() -> Request<RequestBody>,
        may_be_repeated: impl FnOnce() -> bool,
    ) -> Result<Response<AnswerBody>, ClientError> {
        let mut next = self.addressed(request());
        while let Some(link) = self.links.take() {
            let Refused { error, unsent } = match link.exchange(next).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            if let Some(unsent) = unsent {
                next = *unsent;
            } else if may_be_repeated() {
                tracing::debug!(%error, "a kept connection was of no use; trying a new one");
                next = self.addressed(request());
                break;
            } else {
                return Err(ClientError::Connection(error));
            }
        }
        let answer = self.connect().await?.exchange(next).await;
        answer.map_err(|refused| ClientError::Connection(refused.error))
    }

    /// Addresses a request to the node, whose path follows the method then.
    fn addressed(&self, mut request: Request<RequestBody>) -> Request<RequestBody> {
        let uri = request.uri_mut();
        if uri.authority().is_some() {
            *uri = uri
                .path_and_query()
                .cloned()
                .map(Uri::from)
                .unwrap_or_default();
        }
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }

    async fn connect(&self) -> Result<Link, ClientError> {
        let connected = self.connector.clone().oneshot(self.origin.clone()).await;
        let socket = connected.map_err(ClientError::Connect)?;
        let opened = self.http.handshake(socket).await;
        let (sender, connection) = opened.map_err(ClientError::Connection)?;
        let driver = Box::pin(connection.with_upgrades());
        Ok(Link::new(sender, driver, Arc::clone(&self.links)))
    }
}

/// The field that names the node.
fn host(origin: &Uri) -> HeaderValue {
    let host = origin.host().unwrap_or_default();
    let text = match origin.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    // The host of a URL is made of letters, digits and a few signs.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread::{JoinHandle, spawn};

    use http::Method;
    use http_body_util::{BodyExt, Either, Empty};
    use rustls::RootCertStore;
    use tokio::time::Duration;

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

    fn client(server: &Server) -> Client {
        let connector = Connector::new(Duration::from_secs(5), RootCertStore::empty());
        Client::new(connector.unwrap(), server.uri.parse().unwrap())
    }

    async fn send(client: &Client, method: &Method, uri: &str) -> Result<(), ClientError> {
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
        let client = client(&server);
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
            server.closed.recv().unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 2);
    }

    #[tokio::test]
    async fn a_safe_request_that_meets_the_end_of_a_kept_connection_is_sent_again() {
        let server = Server::start(vec![Manner::DropsTheSecond, Manner::AnswersOnce]);
        let client = client(&server);
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 3);
    }

    #[tokio::test]
    async fn a_safe_request_that_meets_the_rest_of_an_earlier_answer_is_sent_again() {
        let server = Server::start(vec![Manner::Mixes, Manner::AnswersOnce]);
        let client = client(&server);
        for _ in 0..2 {
            send(&client, &Method::GET, &server.uri).await.unwrap();
        }
        assert_eq!(server.served.join().unwrap(), 3);
    }

    #[tokio::test]
    async fn an_unsafe_request_that_was_sent_is_not_sent_again() {
        for manner in [Manner::DropsTheSecond, Manner::Mixes] {
            let server = Server::start(vec![manner]);
            let client = client(&server);
            send(&client, &Method::GET, &server.uri).await.unwrap();
            let error = send(&client, &Method::POST, &server.uri).await.unwrap_err();
            assert!(!error.is_unsent(), "{error:?}");
            assert_eq!(server.served.join().unwrap(), 2);
        }
    }

    #[tokio::test]
    async fn a_new_connection_without_an_answer_is_a_failure() {
        for manner in [Manner::Drops, Manner::Babbles] {
            let server = Server::start(vec![manner]);
            let error = send(&client(&server), &Method::GET, &server.uri)
                .await
                .unwrap_err();
            assert!(!error.is_unsent(), "{error:?}");
            assert_eq!(server.served.join().unwrap(), 1);
        }
    }
}
