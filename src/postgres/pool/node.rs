//! One node: its pool, and the connections borrowed by requests.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool, TimeoutType, Timeouts};
use deadpool::{Runtime, managed};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::Lease;
use super::borrowed::{Borrowed, Slotted};
use super::catalogue::Catalogue;
use super::connection::{ConnectionManager, NodeConnection, WarmStatements};
use super::connection_limit::ConnectionLimit;
use super::line::{Lines, lines_max};
use super::standby::Loads;
use super::turnover::Turnover;
use crate::postgres::monitor::Monitor;
use crate::postgres::pool::PoolSettings;
use crate::postgres::{ConnectError, Connection, Server, Session, connect};
use tidegate_model::ServerIdentity;
use tidegate_model::{NodeId, NodeStatus, RegionId};

/// How long a connection may take to answer a request that has lost another one, before a new one
/// is opened instead: a number of round trips, and a busy moment of a nearby server.
const CHECK_ROUND_TRIPS: u32 = 4;
const CHECK_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// How long the monitor may take to confirm that a node's name leads to another server before the
/// pool tries again: the name may lead to several servers. One or two long round trips.
const NEWS_PATIENCE: Duration = Duration::from_millis(500);

/// Time between two attempts to open a connection while the server takes none at all.
const SHUT_OUT_PAUSE: Duration = Duration::from_millis(100);

/// One PostgreSQL server that requests can be sent to.
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Its region, if configured.
    pub region: Option<RegionId>,
    server: Server,
    session: Session,
    pub(super) pool: Pool<ConnectionManager>,
    pub(super) limit: Arc<ConnectionLimit>,
    pub(super) turnover: Arc<Turnover>,
    lines: Lines,
    /// Notified when the lines are too long for the existing connections.
    pub(super) lines_long: Notify,
    pub(super) loads: Arc<Loads>,
    catalogue: Arc<Catalogue>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) settings: PoolSettings,
}

/// The parts of a node.
pub struct NodeConfig {
    /// Its name.
    pub id: NodeId,
    /// Its region, if configured.
    pub region: Option<RegionId>,
    /// How to reach it.
    pub server: Server,
    /// How its sessions are set up.
    pub session: Session,
    /// Most connections opened to it per second.
    pub connects_per_second_max: u32,
    /// The loads of all nodes, so that each can be a standby for the others.
    pub loads: Arc<Loads>,
}

/// The connections of one node.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Open ones, and those being opened.
    pub open: usize,
    /// Those of them that are unused.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// Why no connection could be obtained. The request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// So many requests already wait for a connection that none would become free in time; the
    /// value is the predicted wait.
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
    #[error("its name leads to a server other than the monitored one")]
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
            loads,
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
        // A wait ends even if the request that began it is gone.
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
            lines_long: Notify::new(),
            loads,
            catalogue,
            monitor,
            settings: settings.clone(),
        })
    }

    /// The server that its connections lead to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The revision of its catalogue.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Borrows a connection to the server life that the monitor reports, for a request that must be
    /// answered by a deadline.
    ///
    /// # Errors
    /// [`PoolError`] at once if the wait would be too long, else after `acquire_timeout` at the
    /// latest.
    pub async fn lease(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let borrowed = Box::pin(self.borrow(deadline)).await?;
        Ok(up_to_date(Lease::alone(borrowed)))
    }

    /// Like [`lease`](Self::lease), for a read that is known to be quick: several of them share one
    /// connection, so that none has to wait for its own.
    ///
    /// # Errors
    /// See [`lease`](Self::lease).
    pub async fn share(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let known = |status: &NodeStatus| (status.last_identity, status.round_trip);
        let (meant, round_trip) = self.monitor.read(&self.id, known);
        let round_trip = round_trip.unwrap_or_default();
        let join = |prefers_idle: bool| {
            let (now, max) = (Instant::now(), self.limit.max());
            let has_idle = || prefers_idle && self.pool.status().available > 0;
            let is_meant = |life| is_meant(life, meant);
            self.lines.join(now, round_trip, has_idle, max, is_meant)
        };
        if let Some(joined) = join(true) {
            if joined.is_long {
                self.lines_long.notify_one();
            }
            return Ok(up_to_date(Lease::shared(joined.place)));
        }
        let borrowed = Box::pin(self.borrow(deadline)).await?;
        let (now, max) = (Instant::now(), self.limit.max());
        let lease = match self.lines.open(borrowed, now, max, round_trip) {
            Ok(place) => Lease::shared(place),
            // Other tasks have opened enough meanwhile.
            Err(borrowed) => match join(false) {
                Some(joined) => {
                    borrowed.settle();
                    Lease::shared(joined.place)
                }
                None => Lease::alone(borrowed),
            },
        };
        Ok(up_to_date(lease))
    }

    /// Like [`lease`](Self::lease) while connections are idle beyond those that reads may share, else
    /// like [`share`](Self::share): waiting behind a few others is better than waiting for a
    /// connection, which takes a round trip for each of those that wait.
    ///
    /// # Errors
    /// See [`lease`](Self::lease).
    pub async fn lease_free_or_share(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let to_share = lines_max(self.limit.max()).saturating_sub(self.lines.count());
        match self.pool.status().available <= to_share {
            true => self.share(deadline).await,
            false => self.lease(deadline).await,
        }
    }

    /// Like [`lease`](Self::lease), for a statement that has lost its connection: returns one that
    /// was just opened or has just answered, because the cause may have broken others.
    ///
    /// # Errors
    /// See [`lease`](Self::lease).
    pub async fn lease_checked(&self, deadline: Instant) -> Result<Lease, PoolError> {
        let patience = CHECK_TIMEOUT_MIN.max(self.round_trip() * CHECK_ROUND_TRIPS);
        let working = async {
            loop {
                let borrowed = Box::pin(self.borrow(deadline)).await?;
                // One that does not answer is closed, so this ends.
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
            Ok(Ok(slotted)) => {
                let held = self.turnover.hold();
                Ok(Box::new(Borrowed::new(slotted, held, self.round_trip())))
            }
            Ok(Err(Refused::Pool(managed::PoolError::Timeout(TimeoutType::Wait)))) => {
                Err(PoolError::Busy(self.id.clone()))
            }
            Ok(Err(error)) => Err(PoolError::Unreachable(self.id.clone(), error.to_string())),
            Err(_elapsed) => Err(self.not_in_time()),
        }
    }

    /// Why no connection was obtained within `acquire_timeout`.
    fn not_in_time(&self) -> PoolError {
        match self.pool.status().size >= self.limit.max() || self.limit.is_shut_out() {
            true => PoolError::Busy(self.id.clone()),
            false => PoolError::Unreachable(self.id.clone(), "it does not answer".to_owned()),
        }
    }

    /// Refuses a request that would queue in vain.
    fn admit(&self, deadline: Instant) -> Result<(), PoolError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.settings.acquire_timeout);
        let admitted = self.turnover.admit(&self.limit, patience);
        admitted.map_err(|wait| PoolError::Overloaded(self.id.clone(), wait))
    }

    /// Opens a connection outside the pool.
    ///
    /// # Errors
    /// If the node cannot be reached within `connect_timeout`, or refuses.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        connect(&self.server, &self.session, self.settings.connect_timeout).await
    }

    /// Whether a server life is the one that the node's name leads to, as far as is known.
    #[must_use]
    pub fn leads_to(&self, life: ServerIdentity) -> bool {
        let meant = self.monitor.read(&self.id, |status| status.last_identity);
        is_meant(life, meant)
    }

    /// Waits until the monitor has seen the node: where the server takes few connections, its own comes
    /// before those that requests can do without.
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

    /// Closes connections to other lives of the server and takes the first one to the intended
    /// life.
    ///
    /// If one that has just been opened leads elsewhere, the monitor is notified and its result is
    /// awaited.
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

    /// The most connections that there may be: fewer than configured where the server takes no more.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.limit.max()
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

    /// The round trip between the gateway and the node, as far as it is known.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        let round_trip = self.monitor.read(&self.id, |status| status.round_trip);
        round_trip.unwrap_or_default()
    }
}

/// Makes a lease whose statements were prepared since the catalogue last changed.
fn up_to_date(lease: Lease) -> Lease {
    lease.follow_catalogue();
    lease
}

/// Whether a connection leads to the server that the monitor saw last. A newer life at the same
/// address is accepted as well, because the monitor has not seen it yet. Before the monitor has
/// seen any, all are accepted.
pub(super) fn is_meant(life: ServerIdentity, meant: Option<ServerIdentity>) -> bool {
    meant
        .is_none_or(|meant| life.is_same_place(&meant) && life.started_at_us >= meant.started_at_us)
}

/// Whether a connection still leads to a server that answers.
pub(super) async fn answers(connection: &NodeConnection, patience: Duration) -> bool {
    let answered = timeout(patience, connection.client.simple_query("")).await;
    matches!(answered, Ok(Ok(_)))
}
