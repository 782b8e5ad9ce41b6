//! Path, method and headers → endpoint and decision.
//!
//! The decision is made here, once, from the path the router matched; everything downstream reads
//! it from the [`Decision`].

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, Method};

use crate::consistency::{
    Consistency, RequestToken, TokenKeys, X_CONSISTENCY, X_CONSISTENCY_TOKEN,
};
use crate::error::Problem;
use crate::policy::{Decision, Row, normalise};
use crate::target::{Endpoint, Found, Routes};

/// The endpoint a request reached.
#[derive(Debug)]
pub struct Reached<'a> {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The values of its path template.
    pub path_values: Vec<(String, String)>,
    /// The policy row that covers the path.
    pub policy: Option<&'a Row>,
}

impl<'a> Reached<'a> {
    /// Finds what a method and a path, as it was sent, lead to.
    ///
    /// # Errors
    /// The problem to answer: `invalid-path`, `not-found` or `method-not-allowed`.
    pub fn find(routes: &'a Routes, method: &Method, path: &str) -> Result<Self, Problem> {
        let path = normalise(path)?;
        match routes.router.find(method, &path) {
            Found::Endpoint(endpoint, path_values) => {
                let policy = routes.policies.lookup(&path);
                Ok(Self {
                    endpoint,
                    path_values,
                    policy,
                })
            }
            Found::OtherMethods(allow) => Err(Problem::MethodNotAllowed(allow)),
            Found::Nothing => Err(Problem::NotFound),
        }
    }

    /// Decides what the request is owed.
    ///
    /// # Errors
    /// The problem to answer: `invalid-consistency` or `invalid-token`.
    pub fn decide(
        &self,
        tokens: &TokenKeys,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Decision, Problem> {
        let stated = Consistency::parse_fields(headers.get_all(&X_CONSISTENCY))?;
        let header = RequestToken::from_fields(headers.get_all(&X_CONSISTENCY_TOKEN), tokens)?;
        let token = match self.policy {
            Some(row) if row.session_cookie() => {
                header.stricter(RequestToken::from_cookies(headers.get_all(COOKIE), tokens))
            }
            _ => header,
        };
        Ok(Decision::new(self.policy, stated, token, method))
    }
}
