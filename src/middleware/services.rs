//! What a request needs beyond itself; put together by the gateway.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Shedding;
use super::cached::Landing;
use super::origin::Origin;
use crate::auth::Verifier;
use crate::cache::ResponseCache;
use crate::config::{ConsistencySettings, ServerSettings};
use crate::consistency::TokenKeys;
use crate::pool::Node;
use crate::region::RegionId;
use crate::replication::Monitor;
use crate::target::Routes;

/// Shared by all requests of one process.
pub struct Services {
    /// The region of this process.
    pub region: RegionId,
    /// Policies and endpoints; a reload swaps them whole.
    pub routes: ArcSwap<Routes>,
    /// The nodes, nearest first.
    pub nodes: Vec<Arc<Node>>,
    /// Answers kept in memory; none when it is turned off.
    pub cache: Option<Arc<ResponseCache<Origin, Landing>>>,
    /// What is known of them.
    pub monitor: Arc<Monitor>,
    /// The places for requests in flight.
    pub shedding: Shedding,
    /// Signs and verifies consistency tokens.
    pub tokens: TokenKeys,
    /// Verifies JWTs.
    pub verifier: Verifier,
    /// `[server]`.
    pub server: ServerSettings,
    /// `[consistency]`.
    pub consistency: ConsistencySettings,
}
