//! The state that requests to upstreams share.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Patience, Pseudonym};
use crate::sql::Database;
use tidegate_model::{RegionId, TokenKeys};

/// The state that every request to an upstream needs besides the upstream.
pub struct Proxy {
    /// The region of this process.
    pub region: RegionId,
    /// The name of this process in `Via`.
    pub pseudonym: Pseudonym,
    /// Signs and verifies consistency tokens.
    pub tokens: Arc<TokenKeys>,
    /// Networks of the proxies whose information about the client is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The limits of a request.
    pub patience: Patience,
    /// The replicas that applications read from.
    pub database: Arc<Database>,
}
