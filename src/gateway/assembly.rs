//! The composition root: starts the monitor, the pools and the two listeners of one process, and ends when
//! the drain is over.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::endpoint::{Frontend, Public, RouteTables, Routes};
use crate::gateway::admin::{Access, AdminState, Recorder, admin};
use crate::gateway::config::Settings;
use crate::gateway::dashboard::{self, LivePage};
use crate::gateway::error::GatewayError;
use crate::gateway::frontend::{frontend, token_keys};
use crate::gateway::health::{self, HealthState};
use crate::gateway::nodes::{
    follow_nodes, open_pools, selector, session, start_monitor, warn_of_url,
};
use crate::gateway::own_health::own_health;
use crate::gateway::policy_in_force::put_policy_in_force;
use crate::gateway::reload::Reloader;
use crate::gateway::statement_check::check_on_any_node;
use crate::gateway::storage::{Shared, begin_storage};
use crate::http::{Drain, Limits, Listener, RequestNotes, TlsAcceptor, raise_open_files, serve};
use crate::peers::{FleetDrain, FleetParts, Membership};
use crate::policy_store::{StoreFollower, StoreStatus};
use crate::postgres::monitor::Monitor;
use crate::postgres::pool::Node;
use crate::regions::Entrance;
use crate::sql::{Database, DatabaseSettings};
use crate::storage::Store;
use crate::tunnels::{Handed, Tunnels};
use tidegate_model::{ConfigError, NodeId};
use tidegate_telemetry::again_and_again;
use tidegate_telemetry::trace::{Exporter, Tracer};

/// One gateway, assembled but not yet listening.
pub struct Gateway {
    settings: Settings,
    frontend: Arc<Frontend>,
    entrance: Entrance,
    store: Arc<StoreStatus>,
    health: HealthState,
    recorder: Recorder,
    drain: Drain,
    hangup: Signal,
    tls: Option<Arc<TlsAcceptor>>,
    /// Sends what is traced; absent without a collector.
    exporter: Option<Exporter>,
    /// The tunnels of a fleet, and what becomes of the requests on them.
    tunnels: Option<(Arc<Tunnels>, mpsc::Receiver<Handed>)>,
}

impl Gateway {
    /// Assembles a gateway and starts to monitor the nodes; nothing is listening yet.
    ///
    /// # Errors
    /// If the configuration cannot be used, for example if a statement cannot be prepared while a
    /// database is up.
    pub async fn assemble(mut settings: Settings) -> Result<Self, GatewayError> {
        // Comes first: a SIGHUP without a handler would end the process.
        let hangup = signal(SignalKind::hangup()).map_err(GatewayError::Signals)?;
        let tls = settings.tls.take().map(TlsAcceptor::load).transpose()?;
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
        follow_nodes(&settings, &nodes, &monitor, &selector, &routes);
        let health = health_state(&settings, &monitor, &nodes, &drain);
        let database = Arc::new(Database::new(
            &nodes,
            monitor,
            selector,
            DatabaseSettings {
                retry_budget: settings.steering.retry_budget,
                spill_concurrency: settings.spill_concurrency(),
                session_wait: settings.consistency.session_wait,
                position_patience: settings.replication.sample_timeout,
            },
        ));
        let entrance = put_policy_in_force(&settings, &routes.load(), &database).await?;
        let trust = settings.routes.regions.trust.clone();
        let tokens = Arc::new(token_keys(settings.token_keys.take())?);
        let tunnels = settings.fleet.as_ref().map(|_| Tunnels::new());
        let (tracer, exporter) = start_tracing(&mut settings)?.unzip();
        let mut frontend = frontend(&settings, routes, database, tokens)?;
        frontend.observer.tracer = tracer;
        frontend.tunnels = tunnels.as_ref().map(|(tunnels, _)| Arc::clone(tunnels));
        Ok(Self {
            settings,
            store: StoreStatus::new(trust),
            frontend: Arc::new(frontend),
            entrance,
            health,
            recorder,
            drain,
            hangup,
            tls: tls.map(Arc::new),
            exporter,
            tunnels,
        })
    }

    /// Listens until the drain is over; `reload` reads the tables again on SIGHUP.
    ///
    /// # Errors
    /// When an address cannot be bound or signals cannot be handled.
    pub async fn serve(
        mut self,
        reload: impl Fn() -> Result<RouteTables, ConfigError> + Send + Sync + 'static,
    ) -> Result<(), GatewayError> {
        let listen = |label, name, address| {
            Listener::bind(label, address)
                .map_err(|error| GatewayError::Listen(name, address, error))
        };
        let listener = listen("public", "LISTEN_ADDR", self.settings.listen)?;
        let listener = listener.with_tls(self.tls.clone());
        let admin_listener = listen("admin", "ADMIN_ADDR", self.settings.admin)?;
        let services = Public::new(&self.frontend, health::public_routes(self.health.clone()));
        let limits = Limits::from(&self.settings.server);
        let fleet = self.join_fleet(&services)?;
        let follower = self.follower(fleet.clone());
        tracing::info!(
            listen = listener.local_addr().ok().map(tracing::field::display),
            admin = admin_listener.local_addr().ok().map(tracing::field::display),
            region = %self.settings.region,
            "listening"
        );
        let store = self.storage();
        let state = Arc::new(self.admin_state(fleet.clone(), store.clone()));
        let access = access(&self.settings, &admin_listener);
        let page = LivePage::new(Arc::clone(&state), self.recorder.clone(), &access);
        let probes = health::admin_routes(self.health.clone());
        let others = probes.merge(dashboard::routes(&page));
        let admin = admin(self.recorder.clone(), state, others, access);
        let admin = serve(admin_listener, admin, Limits::admin(), Drain::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ended = admin.await;
        });
        self.begin_upkeep(page, &mut tasks);
        let (ending, ended) = oneshot::channel::<()>();
        let mut following = JoinSet::new();
        following.spawn(follower.run(async move {
            let _dropped = ended.await;
        }));
        let storage = self.begin_storage(store, &mut tasks)?;
        let reloader = self.reloader(fleet.clone());
        tasks.spawn(reloader.reload_on(self.hangup, reload));
        let verifying = Arc::clone(&self.frontend);
        tasks.spawn(async move { verifying.verifier.warm().await });
        let drain_timeout = self.settings.server.drain_timeout;
        let drained = serve(listener, services, limits, self.drain.clone()).await;
        if let Some(storage) = storage {
            let _ended = storage.await;
        }
        if let Some(fleet) = fleet
            && timeout(drain_timeout, fleet.ended()).await.is_err()
        {
            tracing::warn!("connections of peers outlasted the drain and are cut off");
        }
        drop(ending);
        let _ended = following.join_next().await;
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
        tracing::info!(cut = drained.cut, "drained");
        Ok(())
    }
}

impl Gateway {
    /// Begins what keeps the live page and the certificate up to date.
    fn begin_upkeep(&self, page: Arc<LivePage>, tasks: &mut JoinSet<()>) {
        tasks.spawn(again_and_again("live page", move || {
            Arc::clone(&page).run()
        }));
        if let Some(tls) = self.tls.clone() {
            tasks.spawn(again_and_again("certificate", move || {
                Arc::clone(&tls).keep_renewed()
            }));
        }
    }

    /// Object storage, if it is configured; nothing is read yet.
    fn storage(&self) -> Option<Arc<Store>> {
        let config = self.settings.storage.as_ref()?;
        Some(Arc::new(Store::new(
            config,
            self.settings.region.clone(),
            Arc::clone(&self.frontend.backends.database),
            Arc::clone(&self.frontend.tokens),
            self.settings.steering.clone(),
        )))
    }

    /// Begins to serve object storage, if it is configured; what is returned ends with the drain.
    fn begin_storage(
        &self,
        store: Option<Arc<Store>>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Option<JoinHandle<()>>, GatewayError> {
        let Some((config, store)) = self.settings.storage.as_ref().zip(store) else {
            return Ok(None);
        };
        let shared = Shared {
            store,
            server: &self.settings.server,
            verifier: &self.frontend.verifier,
            tls: self.tls.clone(),
            drain: &self.drain,
            notes: RequestNotes {
                tracer: self.frontend.observer.tracer.clone(),
                kept: self.frontend.observer.kept.clone(),
            },
        };
        begin_storage(config, shared, tasks).map(Some)
    }

    /// Becomes a member of the fleet, if there is one; peers get `services`.
    fn join_fleet(&mut self, services: &Public) -> Result<Option<Arc<Membership>>, GatewayError> {
        let parts = self.tunnels.take().zip(self.health.suspects.as_ref());
        let Some((config, ((tunnels, handed), suspects))) = self.settings.fleet.as_ref().zip(parts)
        else {
            return Ok(None);
        };
        let region = Some(&self.settings.region);
        let has_first_primary = self.settings.primary_region.as_ref() == region;
        let parts = FleetParts {
            own: own_health(
                self.health.clone(),
                Arc::clone(&self.frontend),
                (self.settings.pool.connections_max, has_first_primary),
                Arc::clone(&self.store),
            ),
            routes: Arc::clone(&self.frontend.routes),
            tunnels,
            suspects: Arc::clone(suspects),
            idle_timeout: self.settings.server.idle_timeout,
        };
        let drain = FleetDrain {
            drain: self.drain.clone(),
            delay: self.settings.server.drain_delay,
        };
        let health = health::peer_routes(self.health.clone());
        let (region, services) = (&self.settings.region, services.clone());
        let parts = (parts, handed);
        let fleet = Membership::begin(config, region, parts, services, health, drain)?;
        Ok(Some(Arc::new(fleet)))
    }

    fn reloader(&self, fleet: Option<Arc<Membership>>) -> Reloader {
        Reloader {
            frontend: Arc::clone(&self.frontend),
            servers: self.settings.servers(),
            session: session(&self.settings),
            entrance: self.entrance.clone(),
            fleet,
            store: Arc::clone(&self.store),
        }
    }

    fn follower(&self, fleet: Option<Arc<Membership>>) -> StoreFollower {
        let frontend = &self.frontend;
        let routes = Arc::clone(&frontend.routes);
        let database = Arc::clone(&frontend.backends.database);
        StoreFollower::new(
            &self.settings.store,
            self.entrance.clone(),
            (routes, database),
            Arc::clone(&self.store),
            fleet,
        )
    }

    fn admin_state(
        &self,
        fleet: Option<Arc<Membership>>,
        storage: Option<Arc<Store>>,
    ) -> AdminState {
        AdminState {
            region: self.settings.region.clone(),
            database: Arc::clone(&self.frontend.backends.database),
            routes: Arc::clone(&self.frontend.routes),
            cache: self.frontend.cache.clone(),
            fleet,
            store: Arc::clone(&self.store),
            storage,
            requests: self.frontend.observer.kept.clone(),
        }
    }

    /// The drain of this process, for signals to begin.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }
}

/// What health answers are made from.
fn health_state(
    settings: &Settings,
    monitor: &Arc<Monitor>,
    nodes: &[Arc<Node>],
    drain: &Drain,
) -> HealthState {
    let replica = settings.local_replica();
    HealthState {
        region: settings.region.clone(),
        replica: replica.map(|replica| NodeId::Replica(replica.region.clone())),
        monitor: Arc::clone(monitor),
        nodes: nodes.to_vec(),
        drain: drain.clone(),
        max_lag: settings.replication.max_lag,
        suspects: settings.fleet.as_ref().map(|_| Arc::default()),
    }
}

/// Starts to send traces, if there is a collector.
fn start_tracing(settings: &mut Settings) -> Result<Option<(Arc<Tracer>, Exporter)>, GatewayError> {
    for warning in &settings.trace_warnings {
        tracing::warn!("{warning}");
    }
    let started = settings.traces.take().map(Exporter::start);
    Ok(started.transpose()?)
}

/// Access control of the admin listener.
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
