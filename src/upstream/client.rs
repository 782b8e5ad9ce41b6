//! Sends requests to nodes, over connections that are kept for the next request.
//!
//! A server closes a connection that was idle for too long, perhaps while a request is under way to
//! it. Or it has written more than its answer there, such as a body to a 204, which then stands before the
//! next answer. Neither says anything about the request, so it is sent again, on a new connection, if
//! that is safe. Deliberately absent: any other reason to repeat a request.
//!
//! A request that finds no connection opens one, and yet goes over the first that another request no longer
//! needs, if that is sooner: to open one takes round trips, and a second or more where the node's queue of new
//! connections is full. What is opened serves a later request then.

use std::pin::Pin;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use hyper::client::conn::http1;
use tokio::sync::Semaphore;
use tower::{BoxError, ServiceExt};

use super::connector::Connector;
use super::link::{AnswerBody, Link, Refused, RequestBody};
use super::links::Links;

/// Most fields of an answer: as many as fit into a head of `header_bytes_max` on HTTP/2, where each
/// counts 32 bytes or more. hyper allocates space for all of them before it reads, which costs
/// about 4 µs per answer (4,096 would cost 13).
const FIELDS_MAX: usize = 1 << 10;

/// Most connections that are being opened to a node for later requests. A burst opens one for each of its
/// requests; a node that accepts none for a while is not asked for one more by each request of that time.
const SPARE_MAX: usize = 32;

/// The opening of a connection.
type Opening = Pin<Box<dyn Future<Output = Result<Link, ClientError>> + Send>>;

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
    spare: Arc<Semaphore>,
}

/// A connection for a request.
enum Found {
    /// It has waited for the request, and the node may have closed it meanwhile.
    Kept(Link),
    New(Link),
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
            spare: Arc::new(Semaphore::new(SPARE_MAX)),
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
        loop {
            let link = match self.find().await? {
                Found::Kept(link) => link,
                Found::New(link) => return only(link, next).await,
            };
            let Refused { error, unsent } = match link.exchange(next).await {
                Ok(answer) => return Ok(answer),
                Err(refused) => refused,
            };
            if let Some(unsent) = unsent {
                next = *unsent;
            } else if may_be_repeated() {
                tracing::debug!(%error, "a kept connection was of no use; trying a new one");
                return only(self.open().await?, self.addressed(request())).await;
            } else {
                return Err(ClientError::Connection(error));
            }
        }
    }

    /// Takes a kept connection, or the first that becomes free or is opened.
    async fn find(&self) -> Result<Found, ClientError> {
        let mut freed = match self.links.take() {
            Ok(link) => return Ok(Found::Kept(link)),
            Err(freed) => freed,
        };
        let mut opening = self.open();
        tokio::select! {
            biased;
            Some(link) = freed.link() => {
                self.go_on(opening);
                Ok(Found::Kept(link))
            }
            opened = &mut opening => opened.map(Found::New),
        }
    }

    /// Lets a connection be opened for a later request, unless enough are.
    fn go_on(&self, opening: Opening) {
        if let Ok(place) = Arc::clone(&self.spare).try_acquire_owned() {
            tokio::spawn(async move {
                match opening.await {
                    Ok(link) => link.keep(),
                    Err(error) => tracing::debug!(%error, "no connection for a later request"),
                }
                drop(place);
            });
        }
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

    fn open(&self) -> Opening {
        let connecting = self.connector.clone().oneshot(self.origin.clone());
        let (http, links) = (self.http.clone(), Arc::clone(&self.links));
        Box::pin(async move {
            let socket = connecting.await.map_err(ClientError::Connect)?;
            let opened = http.handshake(socket).await;
            let (sender, connection) = opened.map_err(ClientError::Connection)?;
            let driver = Box::pin(connection.with_upgrades());
            Ok(Link::new(sender, driver, links))
        })
    }
}

/// Sends a request over a new connection, whose end is a failure.
async fn only(
    link: Link,
    request: Request<RequestBody>,
) -> Result<Response<AnswerBody>, ClientError> {
    let answer = link.exchange(request).await;
    answer.map_err(|refused| ClientError::Connection(refused.error))
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
mod tests;
