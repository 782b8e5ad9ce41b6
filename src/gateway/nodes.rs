//! The nodes of the database: their monitor, their pools, their order, and what follows them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::endpoint::{Routes, watch_catalogue};
use crate::gateway::config::{ReplicaConfig, Settings};
use crate::postgres::monitor::{Monitor, MonitorSettings, steer};
use crate::postgres::pool::{Loads, Node, NodeConfig, PoolBuildError, WarmStatements};
use crate::postgres::{Server, Session};
use tidegate_model::NodeId;
use tidegate_steering::{Candidates, Selector, SharedSelector, announce};
use tidegate_telemetry::again_and_again;

/// The assumed extra latency of a node over the one before it, until its latency is known.
const DISTANCE: Duration = Duration::from_millis(20);

/// Samples of a node per read of its catalogue, which costs more and changes rarely.
const SAMPLES_PER_CATALOGUE: u32 = 4;

/// The application name and the statement timeout of this process's sessions.
pub(super) fn session(settings: &Settings) -> Session {
    Session {
        application_name: format!("tidegate/{}", settings.region),
        statement_timeout: settings.pool.statement_timeout,
    }
}

pub(super) fn start_monitor(settings: &Settings) -> Monitor {
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
pub(super) fn open_pools(
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
        let warmed = Arc::clone(&node);
        tokio::spawn(again_and_again("pool", move || {
            Arc::clone(&warmed).keep_warm()
        }));
        Ok(node)
    };
    configs.into_iter().map(open).collect()
}

/// The order of the nodes is their order by distance until more is known.
pub(super) fn selector(settings: &Settings, nodes: &[Arc<Node>]) -> SharedSelector {
    let now = Instant::now();
    let steering = settings.steering.clone();
    let estimates: Vec<_> = (1..)
        .map(|place| DISTANCE * place)
        .take(nodes.len())
        .collect();
    let selector = Selector::new(steering, fastrand::u64(..), &estimates, now);
    SharedSelector::new(selector, now)
}

/// Watches the catalogue of each node, and makes the order of the nodes follow their samples and known.
pub(super) fn follow_nodes(
    settings: &Settings,
    nodes: &[Arc<Node>],
    monitor: &Monitor,
    selector: &Arc<SharedSelector>,
    routes: &Arc<ArcSwap<Routes>>,
) {
    let interval = settings.replication.sample_interval * SAMPLES_PER_CATALOGUE;
    for (candidate, node) in nodes.iter().enumerate() {
        let (node, id, routes) = (Arc::clone(node), &node.id, Arc::clone(routes));
        tokio::spawn(watch_catalogue(node, candidate, routes, interval));
        let (status, steered) = (monitor.watch(id), Arc::clone(selector));
        tokio::spawn(again_and_again("samples", move || {
            steer(status.clone(), Arc::clone(&steered), candidate)
        }));
    }
    let candidates = Candidates {
        upstream: None,
        nodes: nodes.iter().map(|node| node.id.to_string()).collect(),
    };
    let announced = Arc::clone(selector);
    tokio::spawn(again_and_again("breakers", move || {
        announce(Arc::clone(&announced), candidates.clone())
    }));
}

/// Logs the parts of a server's URL that have no effect.
pub(super) fn warn_of_url(server: &Server) {
    for warning in server.warnings() {
        tracing::warn!(%server, "{warning}");
    }
}
