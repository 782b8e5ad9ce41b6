//! The state that the admin listener shows and changes.

use std::sync::Arc;

use crate::cache::AnswerCache;
use crate::endpoint::LiveRoutes;
use crate::http::KeptRequests;
use crate::peers::Membership;
use crate::policy_store::StoreStatus;
use crate::sql::Database;
use crate::storage::Store;
use tidegate_model::RegionId;

/// The state that the admin listener shows and changes.
pub struct AdminState {
    /// The region of this process.
    pub region: RegionId,
    /// The nodes of the database.
    pub database: Arc<Database>,
    /// The tables in force.
    pub routes: Arc<LiveRoutes>,
    /// Answers kept in memory; `None` if the cache is turned off.
    pub cache: Option<Arc<AnswerCache>>,
    /// What this gateway makes of the policy store.
    pub store: Arc<StoreStatus>,
    /// The last requests; `None` if none are kept.
    pub requests: Option<Arc<KeptRequests>>,
    /// The other gateways; `None` without `FLEET_ADDR`.
    pub fleet: Option<Arc<Membership>>,
    /// Object storage; `None` without `STORAGE_ADDR`.
    pub storage: Option<Arc<Store>>,
}
