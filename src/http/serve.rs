//! The accept loop and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::client_body::ClientBody;
use super::connection::{Context, Visit};
use super::limits::WARNING_INTERVAL;
use super::{Drain, Limits, Listener};
use tidegate_telemetry::{PANIC_PAUSE, Throttle, names, survive};

/// The result of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because they outlasted the drain timeout.
    pub cut: usize,
}

/// Serves a listener until its drain is over: after `drain` has begun, it serves as before for
/// `drain_delay`, then no more connections are accepted, idle connections are closed, and requests
/// in flight finish within `drain_timeout`. Dropping the future ends everything at once.
///
/// Requests carry the client's address as `ConnectInfo<SocketAddr>`.
pub async fn serve<S, B>(
    mut listener: Listener,
    service: S,
    limits: Limits,
    drain: Drain,
) -> Drained
where
    S: tower::Service<Request<ClientBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let context = Arc::new(Context::new(&listener, service, limits, drain.clone()));
    let mut connections = Connections::new(Arc::clone(&context));
    let mut stop = pin!(async {
        drain.begun().await;
        sleep(context.limits.drain_delay).await;
    });
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = connections.round(&mut listener) => {}
        }
    }
    drop(listener);
    connections.finish().await
}

/// What the accept loop waits for.
enum Next {
    Accepted(TcpStream, SocketAddr),
    Ended(Result<(), JoinError>),
}

/// The open connections of a listener.
struct Connections<S> {
    context: Arc<Context<S>>,
    tasks: JoinSet<()>,
    /// Dropped to signal all connections to end.
    closing: watch::Sender<()>,
    warnings: Throttle,
    open: metrics::Gauge,
    accepted: metrics::Counter,
    refused: metrics::Counter,
}

impl<S, B> Connections<S>
where
    S: tower::Service<Request<ClientBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    fn new(context: Arc<Context<S>>) -> Self {
        let listener = context.listener;
        Self {
            context,
            tasks: JoinSet::new(),
            closing: watch::Sender::new(()),
            warnings: Throttle::new(WARNING_INTERVAL),
            open: metrics::gauge!(names::CONNECTIONS_OPEN, "listener" => listener),
            accepted: metrics::counter!(names::CONNECTIONS_ACCEPTED, "listener" => listener),
            refused: metrics::counter!(names::CONNECTIONS_REFUSED, "listener" => listener),
        }
    }

    /// Takes in a new connection, or the end of one. A panic costs that connection at most, so it is no reason to
    /// accept the others later; only waiting, which would panic again at once, begins again after a pause.
    /// Cancel-safe.
    async fn round(&mut self, listener: &mut Listener) {
        let task = self.context.listener;
        let next = async {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => Next::Ended(ended),
                (socket, peer) = listener.accept() => Next::Accepted(socket, peer),
            }
        };
        match survive(task, next).await {
            Some(next) => {
                survive(task, async { self.take(next) }).await;
            }
            None => sleep(PANIC_PAUSE).await,
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Accepted(socket, peer) => self.open(socket, peer),
            Next::Ended(ended) => self.note_end(ended),
        }
    }

    fn open(&mut self, socket: TcpStream, peer: SocketAddr) {
        if self.tasks.len() >= self.context.limits.connections_max {
            return self.refuse();
        }
        self.accepted.increment(1);
        let visit = Visit {
            context: Arc::clone(&self.context),
            peer,
            closing: self.closing.subscribe(),
        };
        self.tasks.spawn(visit.serve(socket));
        self.show_open();
    }

    fn refuse(&mut self) {
        self.refused.increment(1);
        if let Some(suppressed) = self.warnings.pass(Instant::now()) {
            let listener = self.context.listener;
            let connections_max = self.context.limits.connections_max;
            tracing::warn!(
                listener,
                connections_max,
                suppressed,
                "too many connections"
            );
        }
    }

    fn note_end(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            let listener = self.context.listener;
            tracing::error!(listener, %error, "a connection's task has died");
        }
        self.show_open();
    }

    fn show_open(&self) {
        self.open
            .set(u32::try_from(self.tasks.len()).unwrap_or(u32::MAX));
    }

    async fn finish(mut self) -> Drained {
        drop(std::mem::replace(&mut self.closing, watch::Sender::new(())));
        let drain_timeout = self.context.limits.drain_timeout;
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                self.note_end(ended);
            }
        };
        if timeout(drain_timeout, all_ended).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = self.tasks.len();
        self.context.count_expired("drain", cut as u64);
        let listener = self.context.listener;
        tracing::warn!(
            listener,
            cut,
            "connections outlasted the drain and are cut off"
        );
        self.tasks.shutdown().await;
        self.show_open();
        Drained { cut }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;

    use super::*;

    #[derive(Default)]
    struct DiesOnce(AtomicBool);

    impl metrics::CounterFn for DiesOnce {
        fn increment(&self, _value: u64) {
            assert!(self.0.swap(true, Ordering::Relaxed), "it dies");
        }

        fn absolute(&self, _value: u64) {}
    }

    #[tokio::test]
    async fn a_panic_costs_one_connection_and_not_the_listener() {
        let mut listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let context = Context::new(&listener, Router::new(), Limits::default(), Drain::new());
        let mut connections = Connections::new(Arc::new(context));
        connections.accepted = metrics::Counter::from_arc(Arc::<DiesOnce>::default());
        let _lost = TcpStream::connect(address).await.unwrap();
        connections.round(&mut listener).await;
        assert_eq!(connections.tasks.len(), 0);
        let _served = TcpStream::connect(address).await.unwrap();
        connections.round(&mut listener).await;
        assert_eq!(connections.tasks.len(), 1);
    }
}
