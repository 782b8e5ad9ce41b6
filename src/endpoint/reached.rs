//! Path and method → endpoint and policy row.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::{Endpoint, Found, RouteError, Routes};
use tidegate_model::normalise;
use tidegate_policy::Row;

/// The endpoint a request reached.
#[derive(Debug)]
pub struct Reached<'a> {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The normalised path.
    pub path: Cow<'a, str>,
    /// The values of its path template.
    pub path_values: Vec<(String, String)>,
    /// The policy row that covers the path.
    pub policy: Option<&'a Row>,
}

impl<'a> Reached<'a> {
    /// Finds the endpoint and the policy row of a method and a path as sent.
    ///
    /// # Errors
    /// The problem to answer: `invalid-path`, `not-found` or `method-not-allowed`.
    pub fn find(routes: &'a Routes, method: &Method, path: &'a str) -> Result<Self, RouteError> {
        let path = normalise(path)?;
        match routes.router.find(method, &path) {
            Found::Endpoint(endpoint, path_values) => {
                let policy = routes.policies.lookup(&path);
                Ok(Self {
                    endpoint,
                    path,
                    path_values,
                    policy,
                })
            }
            Found::OtherMethods(allow) => Err(RouteError::MethodNotAllowed(allow)),
            Found::Nothing => Err(RouteError::NotFound),
        }
    }
}
