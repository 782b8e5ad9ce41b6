//! One client connection from accept to close.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};

use axum::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::activity::{Activity, Expiry};
use super::client_body::ClientBody;
use super::lent::lend;
use super::metered::Metered;
use super::stream_task::StreamTasks;
use super::tls::{begins_tls, chose_http2, refuse_cleartext};
use super::tracked::{Ending, Tracked};
use super::watched::{Protocol, Watched};
use super::{Drain, Limits, Listener, TlsAcceptor};
use tidegate_telemetry::names;

/// Detects HTTP/2 peers that have disappeared silently, even while a request is in flight.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams a client may open and reset before they are answered, and streams this side may have
/// to reset for a client's errors, before the connection is closed: floods of either are cheap to
/// send (CVE-2023-44487, CVE-2025-8671). These are the defaults of h2 and hyper, pinned here.
const RESETS_PENDING_MAX: usize = 20;
const RESETS_LOCAL_MAX: usize = 1024;

/// Time that an idle connection has to close: to answer a GOAWAY, to send a last request.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much later the system ends a connection than this process, which counts it and resets it.
const SYSTEM_MARGIN: Duration = Duration::from_secs(1);

/// hyper accepts no smaller limit.
const HEADER_BYTES_MIN: usize = 8 * 1024;

/// The state shared by all connections of a listener.
pub(super) struct Context<S> {
    pub(super) listener: &'static str,
    pub(super) service: S,
    pub(super) limits: Limits,
    pub(super) drain: Drain,
    tls: Option<Arc<TlsAcceptor>>,
    http1: http1::Builder,
    http2: http2::Builder<StreamTasks>,
}

impl<S> Context<S> {
    pub(super) fn new(listener: &Listener, service: S, limits: Limits, drain: Drain) -> Self {
        Self {
            http1: http1_builder(&limits),
            http2: http2_builder(&limits),
            tls: listener.tls.clone(),
            listener: listener.name,
            service,
            limits,
            drain,
        }
    }

    pub(super) fn count_expired(&self, reason: &'static str, connections: u64) {
        let labels = [("listener", self.listener), ("reason", reason)];
        metrics::counter!(names::CONNECTIONS_EXPIRED, &labels).increment(connections);
    }
}

fn head_bytes_max(limits: &Limits) -> usize {
    limits.header_bytes_max.max(HEADER_BYTES_MIN)
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Without `half_close`: what a client sends ends when it goes away, which must end its request.
    builder
        .header_read_timeout(None) // see `activity`
        // The buffer bounds the head; a body is read through it in pieces.
        .max_buf_size(head_bytes_max(limits));
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(StreamTasks {
        write_timeout: limits.write_timeout,
    });
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(head_bytes_max(limits)).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_LOCAL_MAX);
    builder
}

/// One connection, without its contents.
pub(super) struct Visit<S> {
    pub(super) context: Arc<Context<S>>,
    pub(super) peer: SocketAddr,
    /// Changes when the connection should end.
    pub(super) closing: watch::Receiver<()>,
}

impl<S, B> Visit<S>
where
    S: tower::Service<Request<ClientBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    /// Serves the connection until the client closes it, it times out, or it should end and its
    /// requests in flight are answered.
    pub(super) async fn serve(self, socket: TcpStream) {
        let peer = self.peer;
        if let Err(error) = set_options(&socket, &self.context.limits) {
            tracing::debug!(%peer, %error, "cannot set the options of a socket");
        }
        let activity = Activity::new(Instant::now());
        let ended = match self.context.tls.clone() {
            None => {
                let socket = Metered::new(socket, Arc::clone(&activity));
                let mut socket = Watched::new(socket, Arc::clone(&activity));
                match self.begin(socket.protocol(), &activity).await {
                    Ok(protocol) => self.exchange(socket, protocol, &activity, false).await,
                    Err(error) => Err(error),
                }
            }
            // Boxed: it is far larger.
            Some(tls) => Box::pin(self.serve_tls(&tls, socket, &activity)).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection ended early");
        }
        if activity.is_cut_off() {
            self.context.count_expired(Expiry::Write.as_str(), 1);
        }
    }

    /// Shakes hands, then serves the connection.
    async fn serve_tls(
        &self,
        tls: &TlsAcceptor,
        socket: TcpStream,
        activity: &Arc<Activity>,
    ) -> Result<(), BoxError> {
        if !self.begin(begins_tls(&socket), activity).await? {
            return self.begin(refuse_cleartext(socket), activity).await;
        }
        let socket = Metered::new(socket, Arc::clone(activity));
        let stream = self.begin(tls.accept(socket), activity).await?;
        let protocol = match chose_http2(&stream) {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        let socket = Watched::new(stream, Arc::clone(activity));
        self.exchange(socket, protocol, activity, true).await
    }

    /// Waits for a step that precedes the first request, within the time that a head may take.
    async fn begin<T>(
        &self,
        step: impl Future<Output = io::Result<T>>,
        activity: &Activity,
    ) -> Result<T, BoxError> {
        tokio::select! {
            biased;
            outcome = step => Ok(outcome?),
            () = closed(&self.closing) => Err("the listener has stopped".into()),
            expiry = expired(activity, &self.context.limits) => {
                self.context.count_expired(expiry.as_str(), 1);
                Err("no request came in time".into())
            }
        }
    }

    /// Serves requests until HTTP ends, and what follows it.
    async fn exchange<T>(
        &self,
        socket: Watched<T>,
        protocol: Protocol,
        activity: &Arc<Activity>,
        is_tls: bool,
    ) -> Result<(), BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ending = Arc::new(Ending {
            drain: self.context.drain.clone(),
            left: OnceLock::new(),
        });
        let service = || Tracked {
            service: RefCell::new(self.context.service.clone()),
            peer: self.peer,
            activity: Arc::clone(activity),
            ending: Arc::clone(&ending),
            is_tls,
        };
        let end = match protocol {
            Protocol::Http1 => self.exchange_http1(socket, service, activity).await?,
            Protocol::Http2 => self.exchange_http2(socket, service(), activity).await,
        };
        match (end, ending.left.get()) {
            (End::Http(outcome), None) => outcome.map_err(BoxError::from),
            // The connection has changed to another protocol, which continues until it ends or the
            // drain cuts it off.
            (End::Http(Ok(())), Some(left)) => {
                left.tunnel.clone().run().await;
                Ok(())
            }
            (End::Http(Err(error)), Some(_)) => Err(error.into()),
            (End::CutOff | End::Rest, _) => Ok(()),
        }
    }

    /// Serves requests one after the other. While the client is silent nothing is held but the socket.
    async fn exchange_http1<T>(
        &self,
        mut socket: Watched<T>,
        service: impl Fn() -> Tracked<S>,
        activity: &Activity,
    ) -> io::Result<End>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let context = &self.context;
        socket.limit_heads(head_bytes_max(&context.limits));
        let mut may_rest = true;
        loop {
            let (owner, lent) = lend(socket);
            let connection = context
                .http1
                .serve_connection(TokioIo::new(lent), service());
            // Boxed: it is most of the task, and is gone during a rest.
            let mut connection = Box::pin(connection.with_upgrades());
            let close = http1::UpgradeableConnection::graceful_shutdown;
            activity.let_rest(may_rest);
            let end = self.attend(connection.as_mut(), close, activity).await;
            drop(connection);
            socket = match (end, owner.take()) {
                (End::Rest, Some(socket)) => socket,
                (end, _closed) => return Ok(end),
            };
            may_rest = self.rest(&mut socket, activity).await?;
        }
    }

    /// Waits for the client's next bytes, or its end. Returns false if there is another reason to close, which HTTP
    /// then does.
    async fn rest<T>(&self, socket: &mut Watched<T>, activity: &Activity) -> io::Result<bool>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        activity.let_rest(false);
        tokio::select! {
            biased;
            outcome = socket.more() => outcome.map(|()| true),
            () = closed(&self.closing) => Ok(false),
            _ = expired(activity, &self.context.limits) => Ok(false),
        }
    }

    /// Serves requests in streams.
    async fn exchange_http2<T>(
        &self,
        mut socket: Watched<T>,
        service: Tracked<S>,
        activity: &Activity,
    ) -> End
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let context = &self.context;
        socket.guard(head_bytes_max(&context.limits));
        let connection = context
            .http2
            .serve_connection(TokioIo::new(socket), service);
        // Boxed: it is larger, and most connections that stay open do not use HTTP/2.
        let mut connection = Box::pin(connection);
        let close = http2::Connection::graceful_shutdown;
        self.attend(connection.as_mut(), close, activity).await
    }

    /// Waits for the end of HTTP on a connection, or for its rest.
    async fn attend<C>(
        &self,
        mut connection: Pin<&mut C>,
        close: fn(Pin<&mut C>),
        activity: &Activity,
    ) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let limits = &self.context.limits;
        tokio::select! {
            biased;
            outcome = connection.as_mut() => return End::Http(outcome),
            () = closed(&self.closing) => {}
            expiry = expired(activity, limits) => {
                if expiry == Expiry::Rest {
                    return End::Rest;
                }
                self.context.count_expired(expiry.as_str(), 1);
                if expiry != Expiry::Idle {
                    return End::CutOff;
                }
            }
        }
        activity.let_rest(false);
        close(connection.as_mut());
        activity.restart_idle();
        let limits = Limits {
            idle_timeout: GOODBYE_TIMEOUT,
            ..limits.clone()
        };
        tokio::select! {
            biased;
            outcome = connection.as_mut() => End::Http(outcome),
            _ = expired(activity, &limits) => End::CutOff,
        }
    }
}

/// Why HTTP is not spoken on a connection any more.
enum End {
    /// It has ended.
    Http(hyper::Result<()>),
    /// The client was too slow, or did not close in time.
    CutOff,
    /// Nothing has come for a while.
    Rest,
}

/// Sends at once, and lets the system end a connection whose client does not take what the system
/// has already accepted: what is left there is not seen here.
fn set_options(socket: &TcpStream, limits: &Limits) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let timeout = limits.write_timeout + SYSTEM_MARGIN;
    SockRef::from(socket).set_tcp_user_timeout(Some(timeout))
}

/// Waits until connections should end. Must be polled by one task.
///
/// Those that wait are listed behind locks that all connections share. They are polled with every request, so
/// that only the first poll takes its lock, and the one after the end.
async fn closed(closing: &watch::Receiver<()>) {
    let mut waiting = closing.clone();
    let mut changed = pin!(waiting.changed());
    let mut is_listed = false;
    poll_fn(|cx| {
        // An error is the end, too.
        if is_listed && matches!(closing.has_changed(), Ok(false)) {
            return Poll::Pending;
        }
        is_listed = true;
        changed.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// Waits until the connection times out. Must be polled after the connection in the same task: the
/// connection's activity moves the deadline.
async fn expired(activity: &Activity, limits: &Limits) -> Expiry {
    let mut timer = pin!(sleep_until(Instant::now() + limits.idle_timeout));
    poll_fn(|cx| {
        activity.wake_on_end(cx.waker());
        loop {
            let Some((at, expiry)) = activity.deadline(limits) else {
                return Poll::Pending;
            };
            // A deadline usually moves with every request. The timer is then left unchanged, and
            // moved once it fires.
            if at < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if at <= timer.deadline() {
                return Poll::Ready(expiry);
            }
        }
    })
    .await
}
