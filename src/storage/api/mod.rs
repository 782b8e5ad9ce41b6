//! Buckets, repositories and keys as JSON, and statistics, for programs of operators and clients.
//!
//! A bearer token with the scope `storage:read` may read, one with `storage:admin` may also change. What is
//! refused is answered by a problem that names the field. No secret is ever answered, except once the one
//! that was just made. A bucket that is declared here must have a public endpoint unless
//! `[storage] api_endpoints` says otherwise: whoever has a token must not reach what only this machine can.

mod input;
mod problem;
mod path;
mod envelope;
mod sizes;
mod state;
mod access;
mod buckets;
mod repositories;
mod keys;
mod range;
mod statistics;
mod totals;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_extractor, from_fn_with_state};
use axum::routing::{get, patch, post};

use super::{Store, ThisGateway};
use crate::auth::Verifier;
use access::guard;
use problem::{method_not_allowed, not_found};
use range::Nothing;
use state::Api;

/// The service behind the listener of the API.
pub fn storage_api(
    store: &Arc<Store>,
    verifier: &Arc<Verifier>,
    this: &Arc<ThisGateway>,
) -> Router {
    let api = Api {
        store: Arc::clone(store),
        verifier: Arc::clone(verifier),
        this: Arc::clone(this),
        sizes: Arc::default(),
    };
    let managed: Router<Api> = Router::new()
        .route("/bucket", get(buckets::list).post(buckets::add))
        .route(
            "/bucket/{id}",
            get(buckets::show)
                .patch(buckets::change)
                .delete(buckets::remove),
        )
        .route("/bucket/{id}/validate", post(buckets::validate))
        .route("/repo", get(repositories::list).post(repositories::add))
        .route(
            "/repo/{id}",
            get(repositories::show)
                .patch(repositories::change)
                .delete(repositories::remove),
        )
        .route("/repo/{id}/apikey", get(keys::list).post(keys::add))
        .route(
            "/repo/{id}/apikey/{key}",
            patch(keys::rotate).delete(keys::remove),
        )
        .route("/node", get(statistics::nodes))
        .route_layer(from_extractor::<Nothing>());
    Router::new()
        .route("/stats/nodes/minute", get(statistics::nodes_minute))
        .route("/stats/minute", get(statistics::minute))
        .route("/stats/daily", get(statistics::daily))
        .route("/repo/stats", get(totals::of_repositories))
        .route("/bucket/stats", get(totals::of_buckets))
        .merge(managed)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}
