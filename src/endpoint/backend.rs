//! What serves an endpoint: one variant for each kind of backend.
//!
//! Admission, caching, the decision, tokens, headers and the access line stand above all of them; a
//! backend answers a request that is known, decided, allowed and admitted.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::time::Duration;

use super::EndpointError;
use crate::auth::Claims;
use crate::cache::{Fetched, Missed, SharedRequest};
use crate::config::{EndpointConfig, TargetConfig};
use crate::http::{Account, Problem, Timing};
use crate::sql::{Database, SqlCall, SqlTarget};
use crate::upstream::{ProxiedRequest, Proxy, Upstream, Upstreams};
use tidegate_policy::Decision;

/// What serves an endpoint.
#[derive(Debug)]
pub enum Backend {
    /// Runs a statement.
    Sql(SqlTarget),
    /// Passes the request on.
    Upstream {
        /// To this application.
        upstream: Arc<Upstream>,
        /// Whether its answer depends on path and query alone.
        cache: bool,
    },
}

/// What the backends of a process run on.
pub struct Backends {
    /// The nodes of SQL endpoints.
    pub database: Arc<Database>,
    /// What requests to upstreams have in common.
    pub proxy: Proxy,
}

/// One request for a backend.
pub struct Call {
    /// Its head.
    pub head: Parts,
    /// Its body as it comes; empty if it was read.
    pub body: Body,
    /// Its body, if the backend wants it whole.
    pub json: Option<Bytes>,
    /// Its normalised path.
    pub path: String,
    /// The values of the path template.
    pub path_values: Vec<(String, String)>,
    /// What it is owed.
    pub decision: Decision,
    /// The claims of its JWT, if the endpoint demands one.
    pub claims: Option<Claims>,
    /// How long the nodes may take.
    pub time: Duration,
}

/// What an answer that everybody may be given depends on, beside the path.
#[derive(Debug, Clone, Copy)]
pub enum SharedBy<'a> {
    /// These query parameters, sorted.
    Parameters(&'a [String]),
    /// The query, as it was sent.
    Query,
}

impl Backend {
    /// Makes the backend of an endpoint ready.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(config: &EndpointConfig, upstreams: &Upstreams) -> Result<Self, EndpointError> {
        Ok(match &config.target {
            TargetConfig::Sql(sql) => Self::Sql(SqlTarget::compile(config, sql)?),
            TargetConfig::Upstream(target) => {
                let upstream = upstreams.get(&target.name);
                let missing = || EndpointError::NoUpstream(target.name.clone());
                Self::Upstream {
                    upstream: Arc::clone(upstream.ok_or_else(missing)?),
                    cache: target.cache,
                }
            }
        })
    }

    /// Serves a request; `account` takes in how.
    ///
    /// # Errors
    /// The problem to answer.
    pub async fn serve(
        &self,
        backends: &Backends,
        call: Call,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        match self {
            Self::Sql(target) => {
                let call = SqlCall {
                    head: &call.head,
                    path_values: &call.path_values,
                    body: call.json.as_deref(),
                    claims: call.claims.as_ref(),
                    decision: &call.decision,
                    time: call.time,
                };
                target.serve(&backends.database, &call, account).await
            }
            Self::Upstream { upstream, .. } => {
                let request = ProxiedRequest {
                    head: call.head,
                    body: call.body,
                    path: call.path,
                    decision: call.decision,
                };
                // Boxed: large and not of every request.
                Box::pin(backends.proxy.forward(upstream, request, account)).await
            }
        }
    }

    /// Asks for an answer of at most `bytes_max` that the response cache may keep.
    ///
    /// # Errors
    /// Why there is nothing to keep.
    pub async fn fetch(
        &self,
        backends: &Backends,
        shared: &SharedRequest,
        bytes_max: usize,
        time: Duration,
        timing: &mut Timing,
    ) -> Result<Fetched, Missed> {
        match self {
            Self::Sql(target) => {
                let fetched = target.fetch(&backends.database, shared, time, timing);
                Ok(fetched.await?)
            }
            Self::Upstream { upstream, .. } => {
                let proxy = &backends.proxy;
                let fetched = proxy.fetch(upstream, shared, bytes_max, time, timing);
                Box::pin(fetched).await
            }
        }
    }

    /// Returns what an answer depends on beside the path; none when it depends on more than path and
    /// query, or is no plain 200, so that nobody else may be given it.
    #[must_use]
    pub fn shared_by(&self) -> Option<SharedBy<'_>> {
        match self {
            Self::Sql(sql) => sql.shared_parameters.as_deref().map(SharedBy::Parameters),
            Self::Upstream { cache, .. } => cache.then_some(SharedBy::Query),
        }
    }

    /// Refuses what must not be served, whatever the answer would be.
    ///
    /// # Errors
    /// The problem to answer.
    pub fn check(&self, backends: &Backends, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Self::Upstream { .. } => Ok(backends.proxy.refuse_loop(headers)?),
            Self::Sql(_) => Ok(()),
        }
    }

    /// Whether an answer may be for the bearer of the request's credentials alone.
    #[must_use]
    pub fn may_answer_bearer(&self, headers: &HeaderMap) -> bool {
        matches!(self, Self::Upstream { .. }) && headers.contains_key(AUTHORIZATION)
    }

    /// Whether the body is read whole, as JSON, before the request is served.
    #[must_use]
    pub fn reads_json(&self) -> bool {
        self.sql().is_some_and(|target| target.reads_body)
    }

    /// Returns the claims that it binds.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.sql().into_iter().flat_map(SqlTarget::claims)
    }

    /// Returns its statement, if it runs one.
    #[must_use]
    pub fn sql(&self) -> Option<&SqlTarget> {
        if let Self::Sql(target) = self {
            Some(target)
        } else {
            None
        }
    }
}
