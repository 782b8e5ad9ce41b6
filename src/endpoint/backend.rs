//! The backends that serve endpoints: one variant for each kind.
//!
//! Admission, caching, the decision, tokens, headers and the access line are handled above all of
//! them; a backend answers a request that is routed, decided, authenticated and admitted.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::time::Duration;

use super::{EndpointAuth, EndpointConfig, EndpointError, EndpointMethod, TargetConfig};
use crate::auth::Claims;
use crate::cache::{Fetched, Missed, SharedRequest};

use crate::http::{Account, Problem, Timing};
use crate::regions::{Reaches, RegionRoute};
use crate::sql::{Database, SqlCall, SqlPlace, SqlTarget};
use crate::upstream::{PositionSource, ProxiedRequest, Proxy, Upstream, Upstreams};
use tidegate_model::RegionId;
use tidegate_policy::Decision;

/// The backend of an endpoint.
#[derive(Debug)]
pub enum Backend {
    /// Runs a statement.
    Sql(Box<SqlTarget>),
    /// Forwards the request.
    Upstream {
        /// The application.
        upstream: Arc<Upstream>,
        /// The path template of the endpoint.
        template: Arc<str>,
        /// Whether its answer depends on path and query alone.
        cache: bool,
        /// Where the position comes from that its answer has seen.
        position: PositionSource,
    },
}

impl Reaches for Backend {
    fn has_node_in(&self, region: &RegionId) -> bool {
        match self {
            // Statements run here, whatever the nodes that they run on.
            Self::Sql(_) => false,
            Self::Upstream { upstream, .. } => {
                let mut nodes = upstream.nodes().iter();
                nodes.any(|node| node.region.as_ref() == Some(region))
            }
        }
    }
}

/// The resources of a process's backends.
pub struct Backends {
    /// The nodes of SQL endpoints.
    pub database: Arc<Database>,
    /// The state shared by requests to upstreams.
    pub proxy: Proxy,
}

/// One request for a backend.
pub struct Call {
    /// Its head.
    pub head: Parts,
    /// Its body as a stream; empty if it was already read.
    pub body: Body,
    /// Its body, if the backend needs it as a whole.
    pub json: Option<Bytes>,
    /// Its normalised path.
    pub path: String,
    /// The values of the path template.
    pub path_values: Vec<(String, String)>,
    /// Its decision.
    pub decision: Decision,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<Arc<RegionRoute>>,
    /// The claims of its JWT, if the endpoint requires one.
    pub claims: Option<Claims>,
    /// The time that the nodes may take.
    pub time: Duration,
    /// What other regions leave of its time, if it was handed on or may be.
    pub time_left: Option<Duration>,
}

impl Call {
    /// Returns the same request without its body.
    #[must_use]
    pub(super) fn without_body(&self) -> Self {
        Self {
            head: self.head.clone(),
            body: Body::empty(),
            json: None,
            path: self.path.clone(),
            path_values: self.path_values.clone(),
            decision: self.decision.clone(),
            route: self.route.clone(),
            claims: self.claims.clone(),
            time: self.time,
            time_left: self.time_left,
        }
    }
}

/// The part of a request, besides the path, that determines an answer that any client may receive.
#[derive(Debug, Clone, Copy)]
pub enum SharedBy<'a> {
    /// The query parameters that a statement reads.
    Statement(&'a SqlTarget),
    /// The query as sent.
    Query,
}

impl Backend {
    /// Prepares the backend of an endpoint.
    ///
    /// # Errors
    /// States what is wrong with it.
    pub fn compile(config: &EndpointConfig, upstreams: &Upstreams) -> Result<Self, EndpointError> {
        Ok(match &config.target {
            TargetConfig::Sql(sql) => {
                let EndpointMethod::One(method) = &config.method else {
                    return Err(EndpointError::AnyMethod);
                };
                let place = SqlPlace {
                    method,
                    template: &config.path,
                    is_open: config.auth == EndpointAuth::None,
                };
                Self::Sql(Box::new(SqlTarget::compile(place, sql)?))
            }
            TargetConfig::Upstream(target) => {
                let upstream = upstreams.get(&target.name);
                let missing = || EndpointError::NoUpstream(target.name.clone());
                Self::Upstream {
                    upstream: Arc::clone(upstream.ok_or_else(missing)?),
                    template: config.path.as_str().into(),
                    cache: target.cache,
                    position: target.position,
                }
            }
        })
    }

    /// Serves a request; `account` records how.
    ///
    /// # Errors
    /// The problem to answer with.
    pub async fn serve(
        &self,
        backends: &Backends,
        call: Box<Call>,
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
                    route: call.route.as_deref(),
                    time: call.time,
                };
                target.serve(&backends.database, &call, account).await
            }
            Self::Upstream {
                upstream,
                template,
                position,
                ..
            } => {
                let call = *call;
                let request = ProxiedRequest {
                    template: Arc::clone(template),
                    position: *position,
                    head: call.head,
                    body: call.body,
                    path: call.path,
                    decision: call.decision,
                    route: call.route,
                    time_left: call.time_left,
                };
                // Boxed: large and rarely needed.
                Box::pin(backends.proxy.forward(upstream, request, account)).await
            }
        }
    }

    /// Returns how long an answer may take, `default` if the endpoint does not say so.
    #[must_use]
    pub fn time(&self, default: Duration) -> Duration {
        match self {
            Self::Sql(_) => default,
            Self::Upstream { upstream, .. } => upstream.limits().timeout.unwrap_or(default),
        }
    }

    /// Requests an answer of at most `bytes_max` for the response cache.
    ///
    /// # Errors
    /// Why there is nothing to store.
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
            Self::Upstream {
                upstream, template, ..
            } => {
                let proxy = &backends.proxy;
                let shared = (template, shared);
                let fetched = proxy.fetch(upstream, shared, bytes_max, time, timing);
                Box::pin(fetched).await
            }
        }
    }

    /// Returns what determines an answer besides the path; `None` if more than path and query
    /// determine it, or if it is not a plain 200, so that no other client may receive it.
    #[must_use]
    pub fn shared_by(&self) -> Option<SharedBy<'_>> {
        match self {
            Self::Sql(sql) => {
                let is_shared = sql.shared_parameters.is_some();
                is_shared.then_some(SharedBy::Statement(sql))
            }
            Self::Upstream { cache, .. } => cache.then_some(SharedBy::Query),
        }
    }

    /// Refuses a request that must not be served, regardless of the answer.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn check(&self, backends: &Backends, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Self::Upstream { .. } => Ok(backends.proxy.refuse_loop(headers)?),
            Self::Sql(_) => Ok(()),
        }
    }

    /// Whether an answer may be intended only for the request's client.
    #[must_use]
    pub fn may_answer_bearer(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Sql(target) => target.is_one_clients,
            Self::Upstream { .. } => headers.contains_key(AUTHORIZATION),
        }
    }

    /// Whether the body is read as a whole, as JSON, before the request is served.
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
