//! The admin listener: metrics, the state and order of the nodes, draining them, and purging the
//! response cache. Not for the public network.

mod access;
mod metrics;
mod described;
mod closed_sets;
mod standing;
mod upstreams;
mod regions;
mod topology;
mod drain;
mod region_drain;
mod purge;
mod requests;
mod schemas;
mod state;

pub use access::Access;
pub use described::described;
pub use metrics::{Recorder, RecorderError};
pub use regions::RegionEntry;
pub use requests::RequestEntry;
pub use state::AdminState;
pub use topology::{ConnectionsEntry, NodeEntry, SpillEntry, Topology};
pub use upstreams::{UpstreamEntry, UpstreamNodeEntry};

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

/// The admin service: `/metrics`, `/admin/*`, and the given probes and pages.
pub fn admin(recorder: Recorder, state: Arc<AdminState>, others: Router, access: Access) -> Router {
    let only_post = |handler: MethodRouter<Arc<AdminState>>| handler.fallback(described::only_post);
    let nodes = Router::new()
        .route("/admin/topology", get(topology::topology))
        .route("/admin/regions", get(regions::regions))
        .route("/admin/requests/{id}", get(requests::request))
        .route("/admin/schemas", get(schemas::schemas))
        .route("/admin/traffic-policy", get(regions::policy))
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
        .route(
            "/admin/regions/{region}/drain",
            only_post(post(region_drain::drain)),
        )
        .route(
            "/admin/regions/{region}/undrain",
            only_post(post(region_drain::undrain)),
        )
        .route("/admin/cache/purge", only_post(post(purge::purge)))
        .with_state(state);
    Router::new()
        .route("/metrics", get(metrics::render))
        .with_state(recorder)
        .merge(nodes)
        .merge(others)
        .method_not_allowed_fallback(described::only_get)
        .fallback(described::not_found)
        .layer(from_fn_with_state(Arc::new(access), access::guard))
}
