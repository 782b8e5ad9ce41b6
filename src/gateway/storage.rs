//! Object storage: its listener and its tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use super::GatewayError;
use crate::http::{Drain, Limits, Listener, ServerSettings, TlsAcceptor, serve};
use crate::sql::Database;
use crate::storage::{
    S3Front, StorageConfig, Store, move_forever, probe_forever, repair_forever, sweep_forever,
};
use tidegate_model::{RegionId, TokenKeys};
use tidegate_steering::SteeringSettings;

/// The longest silence of a client that sends or reads a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the listener shares with the rest of the process.
pub(super) struct Shared<'a> {
    pub(super) region: &'a RegionId,
    pub(super) server: &'a ServerSettings,
    pub(super) database: &'a Arc<Database>,
    pub(super) tokens: &'a Arc<TokenKeys>,
    pub(super) steering: &'a SteeringSettings,
    pub(super) tls: Option<Arc<TlsAcceptor>>,
    pub(super) drain: &'a Drain,
}

/// Begins to listen. The tasks end with the set; what is returned ends when the drain is over.
pub(super) fn begin_storage(
    config: &StorageConfig,
    shared: Shared<'_>,
    tasks: &mut JoinSet<()>,
) -> Result<JoinHandle<()>, GatewayError> {
    let listener = Listener::bind("storage", config.listen)
        .map_err(|error| GatewayError::Listen("STORAGE_ADDR", config.listen, error))?;
    let listener = listener.with_tls(shared.tls);
    let address = listener.local_addr().ok().map(tracing::field::display);
    tracing::info!(storage = address, "listening for S3");
    let (database, tokens) = (Arc::clone(shared.database), Arc::clone(shared.tokens));
    let (region, steering) = (shared.region.clone(), shared.steering.clone());
    let store = Arc::new(Store::new(config, region, database, tokens, steering));
    let front = S3Front::new(&store).map_err(GatewayError::Storage)?;
    let limits = Limits {
        write_timeout: SILENCE_MAX,
        ..Limits::from(shared.server)
    };
    tasks.spawn(Arc::clone(&store).keep_up_to_date());
    tasks.spawn(sweep_forever(Arc::clone(&store)));
    tasks.spawn(repair_forever(Arc::clone(&store)));
    tasks.spawn(move_forever(Arc::clone(&store)));
    tasks.spawn(probe_forever(store));
    let served = serve(listener, front, limits, shared.drain.clone());
    Ok(tokio::spawn(async move {
        let drained = served.await;
        tracing::info!(cut = drained.cut, "drained of S3 requests");
    }))
}
