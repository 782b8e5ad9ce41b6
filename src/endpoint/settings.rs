//! The tables of the configuration as written: policies, endpoints and upstreams.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::regions::{GeoDatabase, PolicyFile};
use crate::sql::SqlConfig;
use crate::upstream::{PositionSource, UpstreamConfig};
use tidegate_model::{Place, RegionId};
use tidegate_policy::PolicyRow;
use tidegate_rollout::TrustedKeys;

/// Policies, endpoints and upstreams.
#[derive(Debug)]
pub struct RouteTables {
    /// Policy rows, in the order of the file.
    pub policies: Vec<PolicyRow>,
    /// Endpoints, in the order of the file.
    pub endpoints: Vec<EndpointConfig>,
    /// The upstreams that endpoints refer to by name or by URL.
    pub upstreams: Vec<UpstreamConfig>,
    /// Which region serves a request.
    pub regions: RegionTables,
}

/// The traffic policy and the address database.
#[derive(Debug, Clone, Default)]
pub struct RegionTables {
    /// The policy; without one, every request is served here.
    pub policy: Option<Arc<PolicyFile>>,
    /// Whether the policy is the built-in one of a fleet: one of the policy store comes before it.
    pub is_built_in: bool,
    /// Where clients are.
    pub geo: Option<Arc<GeoDatabase>>,
    /// The regions of the fleet's peers, and the addresses of their gateways.
    pub peers: Vec<(RegionId, String)>,
    /// Whose signatures of revisions count.
    pub trust: TrustedKeys,
}

/// The clients that may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointAuth {
    /// All clients.
    None,
    /// The bearer of a valid JWT.
    Jwt,
}

/// Method + path template → target.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Its place in the file.
    pub place: Place,
    /// The methods that it answers.
    pub method: EndpointMethod,
    /// A template such as `/api/v1/rates/{base}/{quote}`.
    pub path: String,
    /// The clients that may call it.
    pub auth: EndpointAuth,
    /// Its target.
    pub target: TargetConfig,
}

/// The methods of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointMethod {
    /// One; `HEAD` is answered wherever `GET` is.
    One(Method),
    /// `*`: every method that no other endpoint of the same template names.
    Any,
}

impl fmt::Display for EndpointMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One(method) => method.as_str(),
            Self::Any => "*",
        })
    }
}

/// The target of an endpoint.
#[derive(Debug, Clone)]
pub enum TargetConfig {
    /// Runs a statement.
    Sql(SqlConfig),
    /// Forwards the request.
    Upstream(UpstreamTarget),
}

/// The application that answers, and whether all clients get the same answer from it.
#[derive(Debug, Clone)]
pub struct UpstreamTarget {
    /// The name of the upstream.
    pub name: String,
    /// Whether an answer depends on path and query alone, so that the response cache may keep it.
    pub cache: bool,
    /// Where the position comes from that an answer has seen.
    pub position: PositionSource,
}
