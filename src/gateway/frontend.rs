//! What stands between a request and the backends, put together.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::auth::Verifier;
use crate::cache::{AnswerCache, HttpCache};
use crate::endpoint::{Backends, Frontend, LiveRoutes, Routes};
use crate::gateway::config::Settings;
use crate::gateway::error::GatewayError;
use crate::http::{
    CacheCounters, Compression, DecisionCounters, KeptRequests, LevelTimes, Observer, Shedding,
};
use crate::sql::Database;
use crate::upstream::{Patience, Proxy, Pseudonym};
use tidegate_model::{TokenKeys, TokenKeysError};

/// Puts it together, and the backends.
pub(super) fn frontend(
    settings: &Settings,
    routes: Arc<ArcSwap<Routes>>,
    database: Arc<Database>,
    tokens: Arc<TokenKeys>,
) -> Result<Frontend, GatewayError> {
    let (region, server) = (&settings.region, &settings.server);
    let cache = AnswerCache::new(&settings.cache).map(Arc::new);
    let compression = Arc::new(Compression::new(&settings.compression));
    let shedding = Arc::new(Shedding::new(server.requests_max));
    let names = database.members.iter().map(|it| Arc::clone(&it.name));
    let observer = Observer {
        region: region.clone(),
        shedding: Arc::clone(&shedding),
        decisions: DecisionCounters::of(names),
        cache: cache.as_ref().map(|_| CacheCounters::default()),
        levels: LevelTimes::default(),
        served: settings.fleet.as_ref().map(|_| Arc::default()),
        tracer: None,
        kept: KeptRequests::new(settings.observe.requests_kept).map(Arc::new),
    };
    let proxy = Proxy {
        region: region.clone(),
        pseudonym: Pseudonym::random(region),
        tokens: Arc::clone(&tokens),
        trusted_proxies: server.trusted_proxies.clone(),
        patience: Patience {
            body_bytes_max: server.body_bytes_max,
            body_timeout: server.body_timeout,
            deadline: server.request_deadline,
            time_left: None,
        },
        database: Arc::clone(&database),
    };
    Ok(Frontend {
        observer,
        routes: Arc::new(LiveRoutes::new(routes)),
        verifier: Arc::new(Verifier::new(&settings.auth)?),
        tokens,
        applications: cache
            .clone()
            .map(|cache| Arc::new(HttpCache::new(cache, Arc::clone(&compression)))),
        compression,
        cache,
        shedding,
        tunnels: None,
        backends: Backends { database, proxy },
        server: server.clone(),
    })
}

/// The keys of consistency tokens: random ones if none are configured.
pub(super) fn token_keys(configured: Option<TokenKeys>) -> Result<TokenKeys, TokenKeysError> {
    if let Some(keys) = configured {
        return Ok(keys);
    }
    tracing::warn!(
        "TOKEN_SECRET is not set: tokens signed here are unknown to other gateways, and to this \
         one after a restart"
    );
    TokenKeys::random()
}
