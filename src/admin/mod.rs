//! The admin listener: metrics, the state and order of the nodes, draining them, and purging the
//! response cache. Not for the public network.

mod metrics;
mod described;
mod standing;
mod upstreams;
mod topology;
mod drain;
mod purge;

pub use metrics::{Recorder, RecorderError};
pub use topology::{ConnectionsEntry, NodeEntry, SpillEntry, Topology};
pub use upstreams::{UpstreamEntry, UpstreamNodeEntry};

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::cache::AnswerCache;
use crate::endpoint::LiveRoutes;
use crate::sql::Database;
use tidegate_model::RegionId;

/// What the admin listener shows and changes.
pub struct AdminState {
    /// The region of this process.
    pub region: RegionId,
    /// The nodes of the database.
    pub database: Arc<Database>,
    /// The tables in force.
    pub routes: Arc<LiveRoutes>,
    /// Answers kept in memory; none when it is turned off.
    pub cache: Option<Arc<AnswerCache>>,
}

/// The admin service: `/metrics`, `/admin/*`, and the probes the gateway hands in.
pub fn admin(recorder: Recorder, state: Arc<AdminState>, probes: Router) -> Router {
    let only_post = |handler: MethodRouter<Arc<AdminState>>| handler.fallback(described::only_post);
    let nodes = Router::new()
        .route("/admin/topology", get(topology::topology))
        .route("/admin/nodes/{node}/drain", only_post(post(drain::drain)))
        .route(
            "/admin/nodes/{node}/undrain",
            only_post(post(drain::undrain)),
        )
        .route(
            "/admin/upstreams/{upstream}/nodes/{node}/drain",
            only_post(post(drain::drain_upstream)),
        )
        .route(
            "/admin/upstreams/{upstream}/nodes/{node}/undrain",
            only_post(post(drain::undrain_upstream)),
        )
        .route("/admin/cache/purge", only_post(post(purge::purge)))
        .with_state(state);
    Router::new()
        .route("/metrics", get(metrics::render))
        .with_state(recorder)
        .merge(nodes)
        .merge(probes)
}
