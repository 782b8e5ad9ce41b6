//! Everything that a request needs, and what keeps it up to date.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_model::{RegionId, TokenKeys};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::catalogue::{Bucket, Catalogue};
use super::database::{IndexDatabase, Owed};
use super::fault::{Fault, FaultKind};
use super::index::Index;
use super::spool::SpoolRoom;
use super::{KeyPair, MasterKeys, StorageConfig, StorageError, StorageSettings};
use crate::sql::Database;
use tidegate_steering::AttemptOutcome;
use tidegate_telemetry::names;

/// How often the rows are read again: what an operator changes is in force everywhere within 5 s.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// How often a name that is not known makes the rows be read again.
const UNKNOWN_INTERVAL: Duration = Duration::from_millis(500);

/// Object storage, as one gateway serves it.
pub struct Store {
    pub(super) catalogue: ArcSwap<Catalogue>,
    pub(super) index: Index,
    pub(super) room: Arc<SpoolRoom>,
    pub(super) tokens: Arc<TokenKeys>,
    pub(super) settings: StorageSettings,
    pub(super) region: RegionId,
    keys: MasterKeys,
    refreshed: Mutex<Option<Instant>>,
}

impl Store {
    /// Puts it together; nothing is read yet.
    #[must_use]
    pub fn new(
        config: &StorageConfig,
        region: RegionId,
        database: Arc<Database>,
        tokens: Arc<TokenKeys>,
    ) -> Self {
        let settings = config.settings.clone();
        Self {
            catalogue: ArcSwap::from_pointee(Catalogue::empty()),
            index: Index {
                database: IndexDatabase(database),
                lease: settings.lease,
                sweep_after: settings.sweep_after,
            },
            room: Arc::new(SpoolRoom::new(&settings)),
            tokens,
            settings,
            region,
            keys: config.keys.clone(),
            refreshed: Mutex::new(None),
        }
    }

    /// Keeps buckets, repositories and keys up to date; never ends.
    pub async fn keep_up_to_date(self: Arc<Self>) {
        loop {
            if let Err(error) = self.refresh(Owed::EVENTUAL).await {
                tracing::warn!(%error, "the storage catalogue cannot be read");
            }
            sleep(REFRESH_INTERVAL).await;
        }
    }

    /// Reads the rows again.
    pub(super) async fn refresh(&self, owed: Owed) -> Result<(), StorageError> {
        let mut refreshed = self.refreshed.lock().await;
        let before = self.catalogue.load_full();
        let root = &self.settings.file_root;
        let loaded = before
            .load(&self.index.database, owed, &self.keys, root)
            .await?;
        self.catalogue.store(Arc::new(loaded));
        *refreshed = Some(Instant::now());
        Ok(())
    }

    /// Reads the rows again on behalf of a client that uses a name that is not known, unless that was
    /// just done.
    pub(super) async fn look_again(&self) {
        let refreshed = *self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < UNKNOWN_INTERVAL) {
            return;
        }
        if let Err(error) = self.refresh(Owed::STRONG).await {
            tracing::warn!(%error, "the storage catalogue cannot be read");
        }
    }

    /// Finds a key pair by the id that clients send.
    pub(super) async fn key_pair(&self, id: &str) -> Option<Arc<KeyPair>> {
        let find = || self.catalogue.load().keys.get(id).cloned();
        if let Some(found) = find() {
            return Some(found);
        }
        self.look_again().await;
        find()
    }

    /// Notes how an attempt at a bucket has ended.
    pub(super) fn report(
        &self,
        catalogue: &Catalogue,
        bucket: usize,
        fault: Option<&Fault>,
        latency: Option<Duration>,
    ) {
        let selector = &catalogue.selector;
        let now = Instant::now();
        match fault {
            None => selector.report(bucket, AttemptOutcome::Answered, latency, now),
            Some(fault) if fault.kind == FaultKind::Refused => {
                let name = catalogue.buckets[bucket].name();
                tracing::error!(bucket = name, %fault, "a bucket refuses its credentials");
                selector.lose(bucket, now);
            }
            Some(fault) if fault.kind.opens_breaker() => {
                selector.report(bucket, AttemptOutcome::Failed, None, now);
            }
            Some(_) => {}
        }
    }

    /// Counts a request that goes on with another bucket.
    pub(super) fn count_fallback(&self, bucket: &Bucket, fault: &Fault) {
        let (name, reason) = (bucket.name().to_owned(), fault.kind.as_str());
        tracing::warn!(bucket = name, %fault, "going on with another bucket");
        metrics::counter!(names::STORAGE_FALLBACKS, "bucket" => name, "reason" => reason)
            .increment(1);
    }
}
