//! What requests to upstreams have in common.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Patience, Pseudonym};
use crate::sql::Database;
use tidegate_model::{RegionId, TokenKeys};

/// What every request to an upstream needs beside the upstream.
pub struct Proxy {
    /// The region of this process.
    pub region: RegionId,
    /// What this process is called in `Via`.
    pub pseudonym: Pseudonym,
    /// Signs and verifies consistency tokens.
    pub tokens: Arc<TokenKeys>,
    /// Networks whose word on the client is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The limits of a request.
    pub patience: Patience,
    /// What the replicas that applications read from can honour.
    pub database: Arc<Database>,
}
