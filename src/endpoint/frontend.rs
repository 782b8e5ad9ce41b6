//! What stands between a request and the backends.

use std::sync::Arc;

use super::{Backends, LiveRoutes};
use crate::auth::Verifier;
use crate::cache::AnswerCache;
use crate::http::ServerSettings;
use crate::http::{Observer, Shedding};
use tidegate_model::TokenKeys;

/// What all requests of one process share, by the step that needs it.
pub struct Frontend {
    /// Accounts for every request.
    pub observer: Observer,
    /// Which endpoint, which policy, which budget.
    pub routes: Arc<LiveRoutes>,
    /// Verifies JWTs.
    pub verifier: Verifier,
    /// Signs and verifies consistency tokens.
    pub tokens: Arc<TokenKeys>,
    /// Answers kept in memory; none when it is turned off.
    pub cache: Option<Arc<AnswerCache>>,
    /// Room for requests in flight.
    pub shedding: Arc<Shedding>,
    /// What the backends run on.
    pub backends: Backends,
    /// What one client may take.
    pub server: ServerSettings,
}
