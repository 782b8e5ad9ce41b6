//! The stack every public request passes, in order.
//!
//! 1. `observe`: request id, timing, the access line, metrics, the bodies of problems;
//! 2. panics become `internal` problems;
//! 3. `rate_limit`: the budget that the client has on the path's policy row;
//! 4. `serve`: decide, authenticate, read the body, ask the nodes until `request_deadline`, while there
//!    is room for one more; `cached` instead of the last two where the answer may come from memory.
//!
//! Probes pass only the first two: they are answered from memory.

mod answer;
mod attempt;
mod body;
mod cache_note;
mod cached;
mod decide;
mod fetch;
mod forward;
mod observe;
mod rate_limit;
mod request_id;
mod outcome;
mod run;
mod serve;
mod services;
mod shed;

use std::any::Any;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use http::HeaderValue;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::Problem;

pub use cached::Landing;
pub use decide::{Reached, Uncached};
pub use request_id::request_id;
pub use services::Services;
pub use shed::Shedding;

/// The paths of the public listener that are answered from memory.
pub const PROBE_PATHS: [&str; 2] = ["/health/edge", "/health/live"];

/// The public service: `probes` and, for every other path, the endpoints.
pub fn public(services: &Arc<Services>, probes: Router) -> Router {
    let observe = middleware::from_fn_with_state(Arc::clone(services), observe::observe);
    let rate_limit = middleware::from_fn_with_state(Arc::clone(services), rate_limit::rate_limit);
    Router::new()
        .fallback(serve::serve)
        .with_state(Arc::clone(services))
        .layer(rate_limit)
        .merge(probes.method_not_allowed_fallback(only_get))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(observe)
}

/// What a probe answers to any other method.
async fn only_get() -> Problem {
    Problem::MethodNotAllowed(HeaderValue::from_static("GET, HEAD"))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature is tower-http's"
)]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::Internal(format!("panic: {}", message.unwrap_or_default())).into_response()
}
