//! One node: its pool, and the task that keeps it warm.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, TimeoutType, Timeouts};
use deadpool::{Runtime, managed};
use futures_util::future::{join, join_all};
use tokio::time::{sleep, timeout};

use super::Lease;
use super::connection::{ConnectionManager, NodeConnection, WarmStatements};
use crate::config::PoolSettings;
use crate::postgres::{ConnectError, Server, ServerIdentity, Session};
use crate::region::{NodeId, RegionId};
use crate::replication::Monitor;
use crate::telemetry::names;

/// How often the idle connections of a node are counted and missing ones opened.
const KEEP_WARM_INTERVAL: Duration = Duration::from_secs(1);

/// One PostgreSQL server that requests can be sent to.
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Where it is, if the configuration says so.
    pub region: Option<RegionId>,
    pool: Pool<ConnectionManager>,
    monitor: Arc<Monitor>,
    settings: PoolSettings,
}

/// What makes a node.
pub struct NodeConfig {
    /// Its name.
    pub id: NodeId,
    /// Where it is, if the configuration says so.
    pub region: Option<RegionId>,
    /// How to reach it.
    pub server: Server,
    /// How its sessions are set up.
    pub session: Session,
}

/// Why no connection could be had. The request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// All connections stayed busy for `acquire_timeout`.
    #[error("no connection to {0} became free in time")]
    Busy(NodeId),
    /// No connection could be opened within `acquire_timeout`.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(NodeId, String),
}

impl PoolError {
    /// Whether the node itself is at fault, not the load on it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(..))
    }
}

/// Why a connection was not handed out.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Pool(#[from] managed::PoolError<ConnectError>),
    #[error("its name leads to several servers")]
    Several,
}

impl Node {
    /// Prepares a pool; nothing is opened yet.
    ///
    /// # Errors
    /// Never in practice: the pool is given its runtime.
    pub fn new(
        config: NodeConfig,
        settings: &PoolSettings,
        warm: WarmStatements,
        monitor: Arc<Monitor>,
    ) -> Result<Self, managed::BuildError> {
        let NodeConfig {
            id,
            region,
            server,
            session,
        } = config;
        let manager =
            ConnectionManager::new(id.clone(), &server, session, warm, settings.connect_timeout);
        // A wait ends even when the request that began it is gone.
        let timeouts = Timeouts {
            wait: Some(settings.acquire_timeout),
            create: Some(settings.connect_timeout),
            recycle: None,
        };
        let pool = Pool::builder(manager)
            .max_size(settings.connections_max)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self {
            id,
            region,
            pool,
            monitor,
            settings: settings.clone(),
        })
    }

    /// Borrows a connection to the life of the server that the monitor speaks of.
    ///
    /// # Errors
    /// [`PoolError`] after `acquire_timeout` at the latest.
    pub async fn lease(&self) -> Result<Lease, PoolError> {
        match timeout(self.settings.acquire_timeout, self.current_connection()).await {
            Ok(Ok(object)) => Ok(Lease::new(object)),
            Ok(Err(Refused::Pool(managed::PoolError::Timeout(TimeoutType::Wait)))) => {
                Err(PoolError::Busy(self.id.clone()))
            }
            Ok(Err(error)) => Err(PoolError::Unreachable(self.id.clone(), error.to_string())),
            Err(_elapsed) if self.pool.status().size >= self.settings.connections_max => {
                Err(PoolError::Busy(self.id.clone()))
            }
            Err(_elapsed) => Err(PoolError::Unreachable(
                self.id.clone(),
                "it does not answer".to_owned(),
            )),
        }
    }

    /// Keeps `connections_min` connections open until the node is dropped with its task.
    pub async fn keep_warm(self: Arc<Self>) {
        loop {
            self.pool
                .retain(|connection, _| !connection.client.is_closed());
            let status = self.pool.status();
            let missing = self.settings.connections_min.saturating_sub(status.size);
            if missing > 0 {
                self.open(missing, status.available).await;
            }
            self.publish();
            sleep(spread(KEEP_WARM_INTERVAL)).await;
        }
    }

    /// Opens connections beside the idle ones, which it takes for as long as the others need to
    /// find none idle and begin.
    async fn open(&self, missing: usize, idle: usize) {
        let take = |count| join_all((0..count).map(|_| self.pool.get()));
        let idle = take(idle).await;
        // Each is held until all are open, for the same reason.
        let (opened, ()) = join(take(missing), async { drop(idle) }).await;
        drop(opened);
    }

    /// Closes connections to earlier lives of the server and takes the first that is current.
    ///
    /// A life younger than the monitor's is taken as well: the monitor has yet to see it.
    async fn current_connection(&self) -> Result<Object<ConnectionManager>, Refused> {
        for _ in 0..=self.settings.connections_max {
            let object = self.any_connection().await?;
            let known = self.monitor.status(&self.id).identity;
            let life = object.life;
            let current =
                |known: ServerIdentity| life == known || life.started_at_us > known.started_at_us;
            if known.is_none_or(current) {
                return Ok(object);
            }
            drop::<NodeConnection>(Object::take(object));
        }
        Err(Refused::Several)
    }

    /// An idle connection at once, else a new one, opened by a task that outlives this request.
    async fn any_connection(&self) -> Result<Object<ConnectionManager>, Refused> {
        let status = self.pool.status();
        if status.available > 0 || status.size == status.max_size {
            return Ok(self.pool.get().await?);
        }
        let pool = self.pool.clone();
        match tokio::spawn(async move { pool.get().await }).await {
            Ok(result) => Ok(result?),
            Err(_ended) => Err(managed::PoolError::Closed.into()),
        }
    }

    fn publish(&self) {
        let status = self.pool.status();
        let gauge = |name: &'static str, value: usize| {
            metrics::gauge!(name, "node" => self.id.to_string()).set(value as f64);
        };
        gauge(names::POOL_CONNECTIONS, status.size);
        gauge(names::POOL_IDLE, status.available);
        gauge(names::POOL_WAITING, status.waiting);
    }
}

/// A duration up to a quarter longer, so that gateways do not reconnect in step.
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + fastrand::f64() / 4.0)
}
