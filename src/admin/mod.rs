//! The admin listener: metrics, purging the response cache, and the state of the nodes. Not for
//! the public network.

mod metrics;
mod purge;

pub use metrics::{Recorder, RecorderError};

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::middleware::Services;

/// The admin service: `/metrics`, `/admin/cache/purge`, and the probes the gateway hands in.
pub fn admin(recorder: Recorder, services: Arc<Services>, probes: Router) -> Router {
    let purge = post(purge::purge).fallback(purge::only_post);
    Router::new()
        .route("/metrics", get(metrics::render))
        .with_state(recorder)
        .route("/admin/cache/purge", purge.with_state(services))
        .merge(probes)
}
