//! The admin listener: metrics and the state of the nodes. Not for the public network.

mod metrics;

pub use metrics::{Recorder, RecorderError};

use axum::Router;
use axum::routing::get;

/// The admin service: `/metrics`, and the probes the gateway hands in.
pub fn admin(recorder: Recorder, probes: Router) -> Router {
    Router::new()
        .route("/metrics", get(metrics::render))
        .with_state(recorder)
        .merge(probes)
}
