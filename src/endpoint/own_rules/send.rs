//! Lets a request be served, here or by another region's gateway.

use axum::response::Response;

use crate::endpoint::hand_on::Journey;
use crate::endpoint::here::serve_here;
use crate::endpoint::{Call, Endpoint, Frontend};
use crate::http::{Account, Problem};

/// Serves a request without the cache; `account` records how.
pub(in crate::endpoint) async fn send(
    frontend: &Frontend,
    endpoint: &Endpoint,
    call: Box<Call>,
    account: &mut Account,
) -> Result<Response, Problem> {
    let route = call.route.clone();
    match Journey::by(frontend, endpoint, route.as_deref()) {
        // Boxed: large and only in a fleet.
        Some(journey) => Box::pin(journey.serve(call, account)).await,
        None => serve_here(frontend, endpoint, call, account).await,
    }
}
