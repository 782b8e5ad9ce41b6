//! How a pool opens and verifies a connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::catalogue::Catalogue;
use super::connection_limit::{ConnectionLimit, Open};
use super::gathering::Gathering;
use super::settings::PoolSettings;
use super::spacing::Spacing;
use crate::postgres::{ConnectError, Server, Session, identify, reset_after_write};
use tidegate_model::NodeId;
use tidegate_model::ServerIdentity;

/// Returns the statements that a new connection prepares before it serves.
pub type WarmStatements = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// One connection of a pool, and the life of the server that it leads to.
#[derive(Debug)]
pub(super) struct NodeConnection {
    /// The client; its statement cache is warm.
    pub(super) client: ClientWrapper,
    /// The life of the server that answers on it.
    pub(super) life: ServerIdentity,
    /// The node's catalogue.
    pub(super) catalogue: Arc<Catalogue>,
    /// The revision of the catalogue that its statements were prepared at.
    prepared_at: AtomicU64,
    /// Held while statements are sent that must not be interleaved with those of other requests.
    sends: Mutex<()>,
    _open: Open,
}

impl NodeConnection {
    /// Drops the prepared statements if the catalogue has changed since: their parameters may have
    /// other types now. What statements have left whose proof was void before that was seen is undone.
    pub(super) fn follow_catalogue(&self) {
        let revision = self.catalogue.revision();
        // It is rarely another, and a swap would move the cache line between all who share the connection.
        if self.prepared_at.load(Ordering::Relaxed) != revision
            && self.prepared_at.swap(revision, Ordering::Relaxed) != revision
        {
            self.client.statement_cache.clear();
            let reset = reset_after_write();
            // Sent now, and its answer is not awaited: after one that fails, the server executes nothing else.
            let _unanswered = pin!(self.client.batch_execute(&reset)).now_or_never();
        }
    }

    /// Whether its statements were prepared since the catalogue last changed.
    pub(super) fn is_prepared(&self) -> bool {
        self.prepared_at.load(Ordering::Relaxed) == self.catalogue.revision()
    }

    /// Makes everything that a future sends when it is first polled reach the server together,
    /// without statements of other requests in between. Cancel-safe.
    pub(super) async fn in_one_go<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let mut sent = false;
        poll_fn(|cx| {
            // Only the order of sending is guarded, which a panic cannot break.
            let sending =
                (!sent).then(|| self.sends.lock().unwrap_or_else(PoisonError::into_inner));
            sent = true;
            let polled = future.as_mut().poll(cx);
            drop(sending);
            polled
        })
        .await
    }
}

/// Opens connections to one server.
pub(super) struct ConnectionManager {
    node: NodeId,
    inner: deadpool_postgres::Manager,
    pub(super) catalogue: Arc<Catalogue>,
    warm: WarmStatements,
    connect_timeout: Duration,
    spacing: Mutex<Spacing>,
    pub(super) limit: Arc<ConnectionLimit>,
    /// Whether the newest attempt failed.
    failing: AtomicBool,
}

impl ConnectionManager {
    pub(super) fn new(
        node: NodeId,
        server: &Server,
        session: Session,
        warm: WarmStatements,
        settings: &PoolSettings,
        connects_per_second_max: u32,
    ) -> Self {
        let connect_timeout = settings.connect_timeout;
        let mut config = server.pg_config().clone();
        config.connect_timeout(connect_timeout);
        let gathering = Gathering {
            session,
            mode: server.ssl_mode(),
            tls: server.tls(),
        };
        let fast = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let inner = deadpool_postgres::Manager::from_connect(config, gathering, fast);
        Self {
            node,
            inner,
            catalogue: Arc::default(),
            warm,
            connect_timeout,
            spacing: Mutex::new(Spacing::new(connects_per_second_max)),
            limit: Arc::new(ConnectionLimit::of(settings.connections_max)),
            failing: AtomicBool::new(false),
        }
    }

    /// Waits until a connection may be attempted; does not wait while attempts fail.
    async fn turn(&self) -> Result<(), ConnectError> {
        let patience = match self.failing.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => self.connect_timeout,
        };
        let wait = self
            .spacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(patience, Instant::now());
        sleep(wait.ok_or(ConnectError::TooOften)?).await;
        Ok(())
    }

    async fn open(&self) -> Result<NodeConnection, ConnectError> {
        let client = self.inner.create().await?;
        let open = self.limit.opened();
        let life = identify(&client).await?;
        // Read before the statements are prepared: any later change makes them stale.
        let revision = self.catalogue.revision();
        self.warm_up(&client).await;
        Ok(NodeConnection {
            client,
            life,
            catalogue: Arc::clone(&self.catalogue),
            prepared_at: AtomicU64::new(revision),
            sends: Mutex::default(),
            _open: open,
        })
    }

    /// Prepares all statements at once; one that fails is left to the request that needs it.
    pub(super) async fn warm_up(&self, client: &ClientWrapper) {
        let statements = (self.warm)();
        let prepared = join_all(statements.iter().map(|text| client.prepare_cached(text))).await;
        let failed = prepared.iter().filter(|result| result.is_err()).count();
        if failed > 0 {
            tracing::warn!(node = %self.node, failed, "statements could not be prepared on a new connection");
        }
    }
}

impl Manager for ConnectionManager {
    type Type = NodeConnection;
    type Error = ConnectError;

    async fn create(&self) -> Result<NodeConnection, Self::Error> {
        self.turn().await?;
        let opened = self.open().await;
        let error = opened.as_ref().err();
        let limit = error.and_then(ConnectError::limit_reached);
        if let Some(reason) = limit {
            self.limit.refused(reason, Instant::now());
        }
        let failing = error.is_some() && limit.is_none();
        self.failing.store(failing, Ordering::Relaxed);
        opened
    }

    async fn recycle(
        &self,
        connection: &mut NodeConnection,
        _: &Metrics,
    ) -> RecycleResult<Self::Error> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        Ok(())
    }

    /// The inner manager keeps a reference to every connection's statement cache.
    fn detach(&self, connection: &mut NodeConnection) {
        self.inner.detach(&mut connection.client);
    }
}
