//! Object storage: its listener and its tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use super::GatewayError;
use crate::auth::Verifier;
use crate::http::{Drain, Limits, Listener, RequestNotes, ServerSettings, TlsAcceptor, serve};
use crate::storage::{
    S3Front, StorageConfig, Store, ThisGateway, move_forever, probe_forever, record_forever,
    repair_forever, storage_api, sweep_forever,
};
use tidegate_telemetry::again_and_again;

/// The longest silence of a client that sends or reads a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the listener shares with the rest of the process.
pub(super) struct Shared<'a> {
    pub(super) store: Arc<Store>,
    pub(super) server: &'a ServerSettings,
    pub(super) verifier: &'a Arc<Verifier>,
    pub(super) tls: Option<Arc<TlsAcceptor>>,
    pub(super) drain: &'a Drain,
    pub(super) notes: RequestNotes,
}

/// Begins to listen. The tasks end with the set; what is returned ends when the drain is over.
pub(super) fn begin_storage(
    config: &StorageConfig,
    shared: Shared<'_>,
    tasks: &mut JoinSet<()>,
) -> Result<JoinHandle<()>, GatewayError> {
    let bind = |label, name, address| {
        let listener = Listener::bind(label, address)
            .map_err(|error| GatewayError::Listen(name, address, error))?;
        Ok::<_, GatewayError>(listener.with_tls(shared.tls.clone()))
    };
    let listener = bind("storage", "STORAGE_ADDR", config.listen)?;
    let local = listener.local_addr().ok();
    tracing::info!(
        storage = local.map(tracing::field::display),
        "listening for S3"
    );
    let api = config
        .api
        .map(|address| bind("storage-api", "STORAGE_API_ADDR", address));
    let api = api.transpose()?;
    let store = shared.store;
    let front = S3Front::new(&store, shared.notes);
    let limits = Limits {
        write_timeout: SILENCE_MAX,
        ..Limits::from(shared.server)
    };
    let this = Arc::new(ThisGateway::new(&store, local, shared.tls.is_some()));
    if let Some(listener) = api {
        let address = listener.local_addr().ok().map(tracing::field::display);
        tracing::info!(storage_api = address, "listening for the storage API");
        let served = storage_api(&store, shared.verifier, &this);
        let served = serve(listener, served, Limits::operators(), shared.drain.clone());
        tasks.spawn(async move {
            let _ended = served.await;
        });
    }
    let of = Arc::clone(&store);
    tasks.spawn(again_and_again("inventory", move || {
        Arc::clone(&of).keep_up_to_date()
    }));
    let of = Arc::clone(&store);
    tasks.spawn(again_and_again("sweeps", move || {
        sweep_forever(Arc::clone(&of))
    }));
    let of = Arc::clone(&store);
    tasks.spawn(again_and_again("repairs", move || {
        repair_forever(Arc::clone(&of))
    }));
    let of = Arc::clone(&store);
    tasks.spawn(again_and_again("moves", move || {
        move_forever(Arc::clone(&of))
    }));
    let of = Arc::clone(&store);
    tasks.spawn(again_and_again("statistics", move || {
        record_forever(Arc::clone(&of), Arc::clone(&this))
    }));
    tasks.spawn(again_and_again("probes", move || {
        probe_forever(Arc::clone(&store))
    }));
    let served = serve(listener, front, limits, shared.drain.clone());
    Ok(tokio::spawn(async move {
        let drained = served.await;
        tracing::info!(cut = drained.cut, "drained of S3 requests");
    }))
}
