//! One node: its pool, and the task that keeps it warm.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, TimeoutType, Timeouts};
use deadpool::{Runtime, managed};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep, timeout};

use super::Lease;
use super::catalogue::Catalogue;
use super::connection::{ConnectionManager, NodeConnection, WarmStatements};
use super::connection_limit::ConnectionLimit;
use super::lease::{Borrowed, Slotted};
use super::line::Lines;
use super::turnover::Turnover;
use crate::postgres::monitor::Monitor;
use crate::postgres::pool::PoolSettings;
use crate::postgres::{ConnectError, Connection, Server, Session, connect};
use tidegate_model::ServerIdentity;
use tidegate_model::{NodeId, RegionId};
use tidegate_telemetry::names;

/// How often the idle connections of a node are counted and missing ones opened.
const KEEP_WARM_INTERVAL: Duration = Duration::from_secs(1);

/// Time after which an idle connection is asked whether it still leads to the node. Firewalls and
/// NATs forget silent connections after minutes at the earliest.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a connection may take to answer a request that has lost another one, before a new one is
/// opened instead: so many round trips, and a busy moment of a near server.
const CHECK_ROUND_TRIPS: u32 = 4;
const CHECK_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// How long the monitor may take to confirm that a node's name leads elsewhere before the pool tries
/// again: the name may lead to several servers. A long round trip or two.
const NEWS_PATIENCE: Duration = Duration::from_millis(500);

/// Time between two attempts to open a connection while the server takes none at all.
const SHUT_OUT_PAUSE: Duration = Duration::from_millis(100);

/// The limits that can keep a server from taking one more connection.
const LIMITS: &str = "select rolconnlimit::text, datconnlimit::text, current_setting('max_connections') \
    from pg_roles, pg_database where rolname = session_user and datname = current_database()";

/// One PostgreSQL server that requests can be sent to.
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Where it is, if the configuration says so.
    pub region: Option<RegionId>,
    server: Server,
    session: Session,
    pool: Pool<ConnectionManager>,
    limit: Arc<ConnectionLimit>,
    turnover: Arc<Turnover>,
    lines: Lines,
    catalogue: Arc<Catalogue>,
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
    /// Connections that are opened to it within a second.
    pub connects_per_second_max: u32,
}

/// The connections of one node.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Open ones, and those being opened.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// Why no connection could be had. The request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// So many wait for a connection already that none would become free in time, but after this.
    #[error("the queue for a connection to {0} is too long: its turn would come in {1:?}")]
    Overloaded(NodeId, Duration),
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
    #[error("its name leads to another server than the one that is watched")]
    Elsewhere,
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
            connects_per_second_max,
        } = config;
        let manager = ConnectionManager::new(
            id.clone(),
            &server,
            session.clone(),
            warm,
            settings,
            connects_per_second_max,
        );
        let (catalogue, limit) = (Arc::clone(&manager.catalogue), Arc::clone(&manager.limit));
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
            server,
            session,
            pool,
            limit,
            turnover: Arc::default(),
            lines: Lines::default(),
            catalogue,
            monitor,
            settings: settings.clone(),
        })
    }

    /// The revision of its catalogue.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Borrows a connection to the life of the server that the monitor speaks of, for a request that
    /// must be answered by a deadline.
    ///
    /// # Errors
    /// [`PoolError`] at once when the wait would be too long, else after `acquire_timeout` at the
    /// latest.
    pub async fn lease(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let borrowed = Box::pin(self.borrow(deadline)).await?;
        Ok(up_to_date(Lease::alone(borrowed)))
    }

    /// As [`lease`](Self::lease), for a read that is known to be quick: several of them share one
    /// connection, so that none waits for one.
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    pub async fn share(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let meant = self.monitor.status(&self.id).last_identity;
        let has_idle = self.pool.status().available > 0;
        let join = |has_idle| {
            let (now, max) = (Instant::now(), self.limit.max());
            let is_meant = |life| is_meant(life, meant);
            self.lines.join(now, has_idle, max, is_meant)
        };
        if let Some(place) = join(has_idle) {
            return Ok(up_to_date(Lease::shared(place)));
        }
        let borrowed = Box::pin(self.borrow(deadline)).await?;
        let opened = self.lines.open(borrowed, Instant::now(), self.limit.max());
        let lease = match opened {
            Ok(place) => Lease::shared(place),
            // Others have opened enough meanwhile.
            Err(borrowed) => match join(false) {
                Some(place) => {
                    borrowed.settle();
                    Lease::shared(place)
                }
                None => Lease::alone(borrowed),
            },
        };
        Ok(up_to_date(lease))
    }

    /// As [`lease`](Self::lease), for a statement that has lost its connection: on one that was opened
    /// just now or has just answered, since what broke the one may have broken others.
    ///
    /// # Errors
    /// As [`lease`](Self::lease).
    pub async fn lease_checked(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let round_trip = self.monitor.status(&self.id).round_trip;
        let patience = CHECK_TIMEOUT_MIN.max(round_trip.unwrap_or_default() * CHECK_ROUND_TRIPS);
        let working = async {
            loop {
                let borrowed = Box::pin(self.borrow(deadline)).await?;
                // One that does not answer is closed, so there is an end to them.
                if borrowed.is_new() || answers(borrowed.connection(), patience).await {
                    return Ok(Lease::alone(borrowed));
                }
            }
        };
        let found = timeout(self.settings.acquire_timeout, working).await;
        found.unwrap_or_else(|_elapsed| Err(self.not_in_time()))
    }

    async fn borrow(&self, deadline: Instant) -> Result<Box<Borrowed>, PoolError> {
        self.admit(deadline)?;
        match timeout(self.settings.acquire_timeout, self.current_connection()).await {
            Ok(Ok(slotted)) => Ok(Box::new(Borrowed::new(slotted, self.turnover.hold()))),
            Ok(Err(Refused::Pool(managed::PoolError::Timeout(TimeoutType::Wait)))) => {
                Err(PoolError::Busy(self.id.clone()))
            }
            Ok(Err(error)) => Err(PoolError::Unreachable(self.id.clone(), error.to_string())),
            Err(_elapsed) => Err(self.not_in_time()),
        }
    }

    /// Why no connection was had within `acquire_timeout`.
    fn not_in_time(&self) -> PoolError {
        match self.pool.status().size >= self.limit.max() || self.limit.is_shut_out() {
            true => PoolError::Busy(self.id.clone()),
            false => PoolError::Unreachable(self.id.clone(), "it does not answer".to_owned()),
        }
    }

    /// Refuses who would queue in vain.
    fn admit(&self, deadline: Instant) -> Result<(), PoolError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.settings.acquire_timeout);
        let admitted = self.turnover.admit(&self.limit, patience);
        admitted.map_err(|wait| PoolError::Overloaded(self.id.clone(), wait))
    }

    /// Opens a connection beside the pool.
    ///
    /// # Errors
    /// When the node cannot be reached within `connect_timeout`, or refuses.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        connect(&self.server, &self.session, self.settings.connect_timeout).await
    }

    /// Whether a life of a server is the one that the node's name leads to, as far as is known.
    #[must_use]
    pub fn leads_to(&self, life: ServerIdentity) -> bool {
        is_meant(life, self.monitor.status(&self.id).last_identity)
    }

    /// Waits until the monitor has seen the node: where the server takes few connections, the first is
    /// the monitor's, without which no other is of use.
    pub async fn seen(&self) {
        let mut watch = self.monitor.watch(&self.id);
        // It fails when the monitor is gone, with the process.
        let _gone = watch
            .wait_for(|status| status.last_identity.is_some())
            .await;
    }

    /// Whether the server takes no connection of the pool, so that others of this process should make
    /// room.
    #[must_use]
    pub fn is_shut_out(&self) -> bool {
        self.limit.is_shut_out()
    }

    /// Closes one connection of the pool, unless it is the only one, since the server has refused one
    /// that is needed beside the pool.
    pub fn make_room(&self, reason: &str) {
        self.limit.give_one_up(reason, Instant::now());
        let mut surplus = usize::from(self.limit.is_crowded());
        self.pool
            .retain(|_, _| std::mem::replace(&mut surplus, 0) == 0);
    }

    /// Keeps `connections_min` connections open until the node is dropped with its task; closes idle
    /// ones to a server that the node's name led to before, as soon as another is known.
    pub async fn keep_warm(self: Arc<Self>) {
        self.seen().await;
        let mut watch = self.monitor.watch(&self.id);
        loop {
            let meant = watch.borrow_and_update().last_identity;
            self.follow_limit().await;
            let mut silent = 0;
            self.pool.retain(|connection, metrics| {
                silent += usize::from(metrics.last_used() >= KEEP_ALIVE_AFTER);
                !connection.client.is_closed() && is_meant(connection.life, meant)
            });
            let status = self.pool.status();
            let wanted = self.settings.connections_min.min(self.limit.max());
            let missing = wanted.saturating_sub(status.size);
            if missing > 0 {
                self.open(missing, status.available).await;
            }
            if !watch.borrow().missed {
                self.keep_alive(silent).await;
            }
            self.publish();
            let moved = watch.wait_for(|status| status.last_identity != meant);
            let _moved_or_elapsed = timeout(spread(KEEP_WARM_INTERVAL), moved).await;
        }
    }

    /// Leaves a connection to the monitor, warns of a limit that was met, and tries now and then whether
    /// it is still there.
    async fn follow_limit(&self) {
        if let Some(reason) = self.monitor.take_refusal(&self.id) {
            self.make_room(&reason);
        }
        if self.limit.is_retry_due(Instant::now()) {
            let opened = self.connect().await;
            match opened.as_ref().err().and_then(ConnectError::limit_reached) {
                Some(reason) => self.limit.refused(reason, Instant::now()),
                None => self.limit.lift(),
            }
        }
        if let Some(reason) = self.limit.news() {
            self.warn_of_limit(&reason).await;
        }
    }

    async fn warn_of_limit(&self, reason: &str) {
        let asked = async {
            let slotted = self.any_connection().await.ok()?;
            slotted.0.client.query_one(LIMITS, &[]).await.ok()
        };
        let asked = timeout(self.settings.acquire_timeout, asked).await;
        let row = asked.ok().flatten();
        let limit = |column: usize| {
            let limit = row.as_ref().map(|row| row.get::<_, &str>(column));
            // Without a limit it is -1.
            limit.filter(|limit| *limit != "-1")
        };
        tracing::warn!(
            node = %self.id,
            reason,
            connections = self.limit.max(),
            connections_max = self.settings.connections_max,
            role_connection_limit = limit(0),
            database_connection_limit = limit(1),
            max_connections = limit(2),
            "the server takes fewer connections than [pool] connections_max: those that are open \
             serve, other requests wait for one of them or are shed"
        );
    }

    /// Opens connections beside the idle ones, which it takes for as long as the others need to
    /// find none idle and begin.
    async fn open(&self, missing: usize, idle: usize) {
        let get = async || {
            let slot = self.limit.slot().await;
            (self.pool.get().await, slot)
        };
        let take = |count| join_all((0..count).map(|_| get()));
        let idle = take(idle).await;
        // Each is held until all are open, for the same reason.
        let (opened, ()) = join(take(missing), async { drop(idle) }).await;
        drop(opened);
    }

    /// Asks connections that nobody has used for a while whether they still lead to the node; those
    /// that do not are closed.
    async fn keep_alive(&self, silent: usize) {
        for _ in 0..silent {
            if self.pool.status().available == 0 {
                return;
            }
            // The one that has been idle for the longest time.
            let _slot = self.limit.slot().await;
            let Ok(object) = self.pool.get().await else {
                return;
            };
            if !answers(&object, KEEP_ALIVE_TIMEOUT).await {
                tracing::debug!(node = %self.id, "a connection had died unnoticed");
                drop::<NodeConnection>(Object::take(object));
            }
        }
    }

    /// Closes connections to other lives of the server and takes the first to the one that is meant.
    ///
    /// One that has just been opened and leads elsewhere is news: the monitor is told, and what it
    /// finds is waited for.
    async fn current_connection(&self) -> Result<Slotted, Refused> {
        let mut watch = self.monitor.watch(&self.id);
        for _ in 0..=self.settings.connections_max {
            let (object, slot) = self.any_connection().await?;
            let meant = watch.borrow_and_update().last_identity;
            if is_meant(object.life, meant) {
                return Ok((object, slot));
            }
            let is_new = Object::metrics(&object).recycle_count == 0;
            drop::<NodeConnection>(Object::take(object));
            if is_new {
                self.monitor.doubt(&self.id);
                let moved = watch.wait_for(|status| status.last_identity != meant);
                let _moved_or_elapsed = timeout(NEWS_PATIENCE, moved).await;
            }
        }
        Err(Refused::Elsewhere)
    }

    /// An idle connection at once, else a new one, opened by a task that outlives this request. Where
    /// the server takes no more, those that are open are waited for.
    async fn any_connection(&self) -> Result<Slotted, Refused> {
        loop {
            let slot = self.limit.slot().await;
            let pool = self.pool.clone();
            let connection = async move { pool.get().await.map(|object| (object, slot)) };
            let connection = match self.pool.status().available > 0 {
                true => connection.await,
                false => {
                    let opened = tokio::spawn(connection).await;
                    opened.unwrap_or(Err(managed::PoolError::Closed))
                }
            };
            match connection {
                Err(managed::PoolError::Backend(error)) if error.limit_reached().is_some() => {
                    if self.limit.is_shut_out() {
                        sleep(SHUT_OUT_PAUSE).await;
                    }
                }
                connection => return Ok(connection?),
            }
        }
    }

    /// Counts its connections.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            open: status.size,
            idle: status.available,
            waiting: self.limit.users().saturating_sub(self.limit.max()),
        }
    }

    fn publish(&self) {
        let connections = self.connections();
        let gauge = |name: &'static str, value: usize| {
            metrics::gauge!(name, "node" => self.id.to_string()).set(value as f64);
        };
        gauge(names::POOL_CONNECTIONS, connections.open);
        gauge(names::POOL_IDLE, connections.idle);
        gauge(names::POOL_WAITING, connections.waiting);
    }
}

/// A lease whose statements were prepared since the catalogue last changed.
fn up_to_date(lease: Lease) -> Lease {
    lease.follow_catalogue();
    lease
}

/// Whether a connection leads to the server that the monitor saw last. A younger life at the same
/// place is taken as well: the monitor has yet to see it. Before the monitor has seen any, all are.
fn is_meant(life: ServerIdentity, meant: Option<ServerIdentity>) -> bool {
    meant
        .is_none_or(|meant| life.is_same_place(&meant) && life.started_at_us >= meant.started_at_us)
}

/// Whether a connection still leads to a server that answers.
async fn answers(connection: &NodeConnection, patience: Duration) -> bool {
    let answered = timeout(patience, connection.client.simple_query("")).await;
    matches!(answered, Ok(Ok(_)))
}

/// A duration up to a quarter longer, so that gateways do not reconnect in step.
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + fastrand::f64() / 4.0)
}
