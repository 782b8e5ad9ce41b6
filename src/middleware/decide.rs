//! Path, method and headers → endpoint and decision.
//!
//! The decision is made here, once, from the path the router matched; everything downstream reads
//! it from [`Decided`].

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::consistency::{
    Consistency, RequestToken, TokenKeys, X_CONSISTENCY, X_CONSISTENCY_TOKEN,
};
use crate::error::Problem;
use crate::policy::{Decision, normalise};
use crate::target::{Endpoint, Found, Routes};

/// What one request is to get.
#[derive(Debug)]
pub struct Decided {
    /// The endpoint it reached.
    pub endpoint: Arc<Endpoint>,
    /// The values of the endpoint's path template.
    pub path_values: Vec<(String, String)>,
    /// Level, token and cache rule.
    pub decision: Decision,
}

/// Decides for one request.
///
/// # Errors
/// The problem to answer: `invalid-path`, `not-found`, `method-not-allowed`, `invalid-consistency`
/// or `invalid-token`.
pub fn decide(
    routes: &Routes,
    tokens: &TokenKeys,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Decided, Problem> {
    let path = normalise(path)?;
    let (endpoint, path_values) = match routes.router.find(method, &path) {
        Found::Endpoint(endpoint, values) => (endpoint, values),
        Found::OtherMethods(allow) => return Err(Problem::MethodNotAllowed(allow)),
        Found::Nothing => return Err(Problem::NotFound),
    };
    let stated = Consistency::parse_fields(headers.get_all(&X_CONSISTENCY))?;
    let token = RequestToken::from_fields(headers.get_all(&X_CONSISTENCY_TOKEN), tokens)?;
    let decision = Decision::new(routes.policies.lookup(&path), stated, token, method);
    Ok(Decided {
        endpoint,
        path_values,
        decision,
    })
}
