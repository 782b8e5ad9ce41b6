//! The composition root: the one file that knows all folders.
//!
//! It starts the monitor, the pools and the two listeners of one process, swaps policies and
//! endpoints on SIGHUP, and ends when the drain is over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::{Access, AdminState, Recorder, RecorderError, admin};
use crate::auth::{AuthSetupError, Verifier};
use crate::cache::AnswerCache;
use crate::config::{ReplicaConfig, Settings};
use crate::endpoint::RouteTables;
use crate::endpoint::{
    Backends, Frontend, LiveRoutes, Public, Routes, check_statements, watch_catalogue,
};
use crate::health::{self, HealthState};
use crate::http::{
    CacheCounters, DecisionCounters, Drain, Limits, Listener, Observer, Shedding, raise_open_files,
    serve,
};
use crate::postgres::monitor::{Monitor, MonitorSettings, steer};
use crate::postgres::pool::{Loads, Node, NodeConfig, PoolBuildError, WarmStatements};
use crate::postgres::{Server, Session, connect};
use crate::sql::{Database, DatabaseSettings};
use crate::upstream::{Patience, Proxy, Pseudonym};
use tidegate_model::ConfigError;
use tidegate_model::NodeId;
use tidegate_model::{TokenKeys, TokenKeysError};
use tidegate_steering::{Candidates, Selector, SharedSelector, announce};

/// Time to reach one node for checking statements. A start waits for it once per node that does
/// not answer, so it is shorter than a request would wait for a connection.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Samples of a node for each look at its catalogue, which costs more and changes rarely.
const SAMPLES_PER_CATALOGUE: u32 = 4;

/// What a node is taken to be farther away than the one before it, until its latency is known.
const DISTANCE: Duration = Duration::from_millis(20);

/// One gateway, put together but not yet listening.
pub struct Gateway {
    settings: Settings,
    frontend: Arc<Frontend>,
    health: HealthState,
    recorder: Recorder,
    drain: Drain,
    hangup: Signal,
}

/// Why a gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metrics cannot be recorded.
    #[error("metrics: {0}")]
    Recorder(#[from] RecorderError),
    /// JWTs cannot be verified.
    #[error("JWT verification: {0}")]
    Verifier(#[from] AuthSetupError),
    /// No random token key.
    #[error("token keys: {0}")]
    TokenKeys(#[from] TokenKeysError),
    /// A pool cannot be made.
    #[error("pool: {0}")]
    Pool(#[from] PoolBuildError),
    /// A listener cannot be bound.
    #[error("{0} = \"{1}\": {2}")]
    Listen(&'static str, SocketAddr, #[source] io::Error),
    /// Signals cannot be handled.
    #[error("signals: {0}")]
    Signals(#[source] io::Error),
}

impl Gateway {
    /// Puts a gateway together and starts watching the nodes; nothing is listening yet.
    ///
    /// # Errors
    /// When the configuration cannot be used: also when a statement does not prepare while a
    /// database is up.
    pub async fn assemble(mut settings: Settings) -> Result<Self, GatewayError> {
        // First of all, since a SIGHUP without a handler would end the process.
        let hangup = signal(SignalKind::hangup()).map_err(GatewayError::Signals)?;
        let routes = Routes::compile(&settings.routes)?;
        check_on_any_node(&settings.servers(), &session(&settings), &routes).await?;
        // After the checks: a configuration that is refused gets one line on standard error.
        raise_open_files(settings.server.connections_max);
        settings.servers().iter().for_each(warn_of_url);
        let recorder = Recorder::install(&settings.region)?;
        let drain = Drain::new();
        let monitor = Arc::new(start_monitor(&settings));
        routes.upstreams.watch();
        let routes = Arc::new(ArcSwap::from_pointee(routes));
        let nodes = open_pools(&settings, &routes, &monitor)?;
        let selector = Arc::new(selector(&settings, &nodes));
        for (candidate, node) in nodes.iter().enumerate() {
            tokio::spawn(watch_catalogue(
                Arc::clone(node),
                candidate,
                Arc::clone(&routes),
                settings.replication.sample_interval * SAMPLES_PER_CATALOGUE,
            ));
            tokio::spawn(steer(
                monitor.watch(&node.id),
                Arc::clone(&selector),
                candidate,
            ));
        }
        let candidates = Candidates {
            upstream: None,
            nodes: nodes.iter().map(|node| node.id.to_string()).collect(),
        };
        tokio::spawn(announce(Arc::clone(&selector), candidates));
        let health = HealthState {
            region: settings.region.clone(),
            replica: settings
                .local_replica()
                .map(|replica| NodeId::Replica(replica.region.clone())),
            monitor: Arc::clone(&monitor),
            drain: drain.clone(),
            max_lag: settings.replication.max_lag,
        };
        let database = Arc::new(Database::new(
            &nodes,
            monitor,
            selector,
            DatabaseSettings {
                retry_budget: settings.steering.retry_budget,
                spill_concurrency: settings.spill_concurrency(),
                session_wait: settings.consistency.session_wait,
            },
        ));
        let tokens = Arc::new(token_keys(settings.token_keys.take())?);
        let frontend = frontend(&settings, routes, database, tokens)?;
        Ok(Self {
            settings,
            frontend: Arc::new(frontend),
            health,
            recorder,
            drain,
            hangup,
        })
    }

    /// Listens until the drain is over; `reload` reads the tables anew on SIGHUP.
    ///
    /// # Errors
    /// When an address cannot be bound or signals cannot be handled.
    pub async fn serve(
        self,
        reload: impl Fn() -> Result<RouteTables, ConfigError> + Send + Sync + 'static,
    ) -> Result<(), GatewayError> {
        let listen = |label, name, address| {
            Listener::bind(label, address)
                .map_err(|error| GatewayError::Listen(name, address, error))
        };
        let listener = listen("public", "LISTEN_ADDR", self.settings.listen)?;
        let admin_listener = listen("admin", "ADMIN_ADDR", self.settings.admin)?;
        tracing::info!(
            listen = listener.local_addr().ok().map(tracing::field::display),
            admin = admin_listener.local_addr().ok().map(tracing::field::display),
            region = %self.settings.region,
            "listening"
        );
        let services = Public::new(&self.frontend, health::public_routes(self.health.clone()));
        let limits = Limits::from(&self.settings.server);
        let admin = admin(
            self.recorder.clone(),
            Arc::new(self.admin_state()),
            health::admin_routes(self.health.clone()),
            access(&self.settings, &admin_listener),
        );
        let admin = serve(admin_listener, admin, Limits::admin(), Drain::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ended = admin.await;
        });
        tasks.spawn(self.recorder.clone().upkeep());
        let reloader = self.reloader();
        tasks.spawn(reloader.reload_on(self.hangup, reload));
        let verifying = Arc::clone(&self.frontend);
        tasks.spawn(async move { verifying.verifier.warm().await });
        let drained = serve(listener, services, limits, self.drain.clone()).await;
        tracing::info!(cut = drained.cut, "drained");
        Ok(())
    }
}

impl Gateway {
    fn reloader(&self) -> Reloader {
        Reloader {
            frontend: Arc::clone(&self.frontend),
            servers: self.settings.servers(),
            session: session(&self.settings),
        }
    }

    fn admin_state(&self) -> AdminState {
        AdminState {
            region: self.settings.region.clone(),
            database: Arc::clone(&self.frontend.backends.database),
            routes: Arc::clone(&self.frontend.routes),
            cache: self.frontend.cache.clone(),
        }
    }

    /// The drain of this process, for signals to begin.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }
}

/// Swaps policies and endpoints on every SIGHUP, or keeps the old ones and says why.
struct Reloader {
    frontend: Arc<Frontend>,
    servers: Vec<Server>,
    session: Session,
}

impl Reloader {
    async fn reload_on(
        self,
        mut hangup: Signal,
        read: impl Fn() -> Result<RouteTables, ConfigError> + Send + Sync + 'static,
    ) {
        while hangup.recv().await.is_some() {
            match self.reload(&read).await {
                Ok(()) => tracing::info!("policies and endpoints were swapped"),
                Err(error) => tracing::error!(%error, "kept the old policies and endpoints"),
            }
        }
    }

    async fn reload(
        &self,
        read: &impl Fn() -> Result<RouteTables, ConfigError>,
    ) -> Result<(), ConfigError> {
        let before = self.frontend.routes.load_full();
        let mut routes = Routes::recompile(&read()?, &before.upstreams)?;
        check_on_any_node(&self.servers, &self.session, &routes).await?;
        routes.rate_limits.go_on_from(&before.rate_limits);
        let revision = routes.revision;
        before.upstreams.retire(&routes.upstreams).await;
        routes.upstreams.watch();
        self.frontend.routes.swap(routes);
        if let Some(cache) = &self.frontend.cache {
            cache.keep_revision(revision);
        }
        Ok(())
    }
}

/// Prepares all statements on the first node that answers; with none up they are taken as they
/// are.
async fn check_on_any_node(
    servers: &[Server],
    session: &Session,
    routes: &Routes,
) -> Result<(), ConfigError> {
    for server in servers {
        match connect(server, session, CHECK_TIMEOUT).await {
            Ok(connection) => return check_statements(routes, &connection.client).await,
            Err(error) => tracing::warn!(%server, %error, "cannot check statements here"),
        }
    }
    tracing::warn!("no database is up: statements are checked when they are first used");
    Ok(())
}

/// The order of the nodes is their order by distance until more is known.
fn selector(settings: &Settings, nodes: &[Arc<Node>]) -> SharedSelector {
    let now = Instant::now();
    let steering = settings.steering.clone();
    let estimates: Vec<_> = (1..)
        .map(|place| DISTANCE * place)
        .take(nodes.len())
        .collect();
    let selector = Selector::new(steering, fastrand::u64(..), &estimates, now);
    SharedSelector::new(selector, now)
}

/// Puts together what stands between a request and the backends, and these.
fn frontend(
    settings: &Settings,
    routes: Arc<ArcSwap<Routes>>,
    database: Arc<Database>,
    tokens: Arc<TokenKeys>,
) -> Result<Frontend, GatewayError> {
    let (region, server) = (&settings.region, &settings.server);
    let cache = AnswerCache::new(&settings.cache).map(Arc::new);
    let shedding = Arc::new(Shedding::new(server.requests_max));
    let names = database.members.iter().map(|it| Arc::clone(&it.name));
    let observer = Observer {
        region: region.clone(),
        shedding: Arc::clone(&shedding),
        decisions: DecisionCounters::of(names),
        cache: cache.as_ref().map(|_| CacheCounters::default()),
    };
    let proxy = Proxy {
        region: region.clone(),
        pseudonym: Pseudonym::random(region),
        tokens: Arc::clone(&tokens),
        trusted_proxies: server.trusted_proxies.clone(),
        patience: Patience {
            body_bytes_max: server.body_bytes_max,
            body_timeout: server.body_timeout,
            deadline: server.request_deadline,
        },
        database: Arc::clone(&database),
    };
    Ok(Frontend {
        observer,
        routes: Arc::new(LiveRoutes::new(routes)),
        verifier: Verifier::new(&settings.auth)?,
        tokens,
        cache,
        shedding,
        backends: Backends { database, proxy },
        server: server.clone(),
    })
}

/// What the sessions of this process are called and bound by.
fn session(settings: &Settings) -> Session {
    Session {
        application_name: format!("tidegate/{}", settings.region),
        statement_timeout: settings.pool.statement_timeout,
    }
}

fn start_monitor(settings: &Settings) -> Monitor {
    let replicas = settings.replicas.iter();
    let replicas =
        replicas.map(|replica| (NodeId::Replica(replica.region.clone()), &replica.server));
    let nodes = std::iter::once((NodeId::Primary, &settings.primary)).chain(replicas);
    let monitor = MonitorSettings {
        application_name: session(settings).application_name,
        sample_interval: settings.replication.sample_interval,
        sample_timeout: settings.replication.sample_timeout,
        max_lag: settings.replication.max_lag,
        fail_after: settings.health.fail_after,
        pass_after: settings.health.pass_after,
    };
    Monitor::start(
        nodes
            .map(|(id, server)| (id, Arc::new(server.clone())))
            .collect(),
        monitor,
    )
}

/// One pool per node, nearest first: replicas in their order, then the primary, unless the primary
/// is in this region and no replica is.
fn open_pools(
    settings: &Settings,
    routes: &Arc<ArcSwap<Routes>>,
    monitor: &Arc<Monitor>,
) -> Result<Vec<Arc<Node>>, PoolBuildError> {
    let session = session(settings);
    let loads = Arc::<Loads>::default();
    let config = |id, region, server: &Server| NodeConfig {
        id,
        region,
        server: server.clone(),
        session: session.clone(),
        connects_per_second_max: settings.steering.reconnects_per_second_max,
        loads: Arc::clone(&loads),
    };
    let primary = config(
        NodeId::Primary,
        settings.primary_region.clone(),
        &settings.primary,
    );
    let replica = |replica: &ReplicaConfig| {
        let id = NodeId::Replica(replica.region.clone());
        config(id, Some(replica.region.clone()), &replica.server)
    };
    let mut configs: Vec<_> = settings.replicas.iter().map(replica).collect();
    let local_primary = settings.primary_region.as_ref() == Some(&settings.region);
    let at = if local_primary && settings.local_replica().is_none() {
        0
    } else {
        configs.len()
    };
    configs.insert(at, primary);
    let routes = Arc::clone(routes);
    let warm: WarmStatements = Arc::new(move || routes.load().warm_statements());
    let open = |config| {
        let node = Node::new(
            config,
            &settings.pool,
            Arc::clone(&warm),
            Arc::clone(monitor),
        )?;
        let node = Arc::new(node);
        tokio::spawn(Arc::clone(&node).keep_warm());
        Ok(node)
    };
    configs.into_iter().map(open).collect()
}

/// Says what in the URL of a server has no effect.
fn warn_of_url(server: &Server) {
    for warning in server.warnings() {
        tracing::warn!(%server, "{warning}");
    }
}

/// Who may write over the admin listener.
fn access(settings: &Settings, listener: &Listener) -> Access {
    let address = listener.local_addr();
    let is_loopback = address.is_ok_and(|address| address.ip().is_loopback());
    if settings.admin_token.is_none() && !is_loopback {
        tracing::warn!(
            "ADMIN_TOKEN is not set and the admin listener is not on a loopback address: drains and \
             purges are refused"
        );
    }
    Access {
        token: settings.admin_token.clone(),
        is_loopback,
        hosts: settings.admin_hosts.clone(),
    }
}

fn token_keys(configured: Option<TokenKeys>) -> Result<TokenKeys, TokenKeysError> {
    if let Some(keys) = configured {
        return Ok(keys);
    }
    tracing::warn!(
        "TOKEN_SECRET is not set: tokens signed here are unknown to other gateways, and to this \
         one after a restart"
    );
    TokenKeys::random()
}
