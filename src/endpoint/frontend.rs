//! The state of the layers in front of the backends.

use std::sync::Arc;

use super::{Backends, LiveRoutes};
use crate::auth::Verifier;
use crate::cache::{AnswerCache, HttpCache};
use crate::http::{Compression, Observer, ServerSettings, Shedding};
use crate::tunnels::Tunnels;
use tidegate_model::TokenKeys;

/// The state that all requests of one process share, by the step that needs it.
pub struct Frontend {
    /// Accounts for every request.
    pub observer: Observer,
    /// The endpoints, policies and budgets.
    pub routes: Arc<LiveRoutes>,
    /// Verifies JWTs.
    pub verifier: Arc<Verifier>,
    /// Signs and verifies consistency tokens.
    pub tokens: Arc<TokenKeys>,
    /// Answers kept in memory; `None` if the cache is turned off.
    pub cache: Option<Arc<AnswerCache>>,
    /// The part of it in which applications decide themselves.
    pub applications: Option<Arc<HttpCache>>,
    /// Which answers are compressed.
    pub compression: Arc<Compression>,
    /// Room for requests in flight.
    pub shedding: Arc<Shedding>,
    /// The tunnels to other regions; `None` without a fleet.
    pub tunnels: Option<Arc<Tunnels>>,
    /// The resources of the backends.
    pub backends: Backends,
    /// The limits of one client.
    pub server: ServerSettings,
}
