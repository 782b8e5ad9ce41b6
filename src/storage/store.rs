//! Everything that a request needs, and what keeps it up to date.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_model::{RegionId, TokenKeys};
use tidegate_steering::SteeringSettings;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::database::IndexDatabase;
use super::distrust::Distrusted;
use super::index::Index;
use super::inventory::Inventory;
use super::owed::Owed;
use super::rows::Rows;
use super::spool::SpoolRoom;
use super::statistics::Tally;
use super::{KeyPair, MasterKeys, Registry, StorageConfig, StorageError, StorageSettings};
use crate::sql::Database;

/// How often the rows are read again: what an operator changes is in force everywhere within 5 s.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two reads of the rows because of names that are not known.
const UNKNOWN_INTERVAL: Duration = Duration::from_millis(250);

/// Object storage, as one gateway serves it.
pub struct Store {
    pub(super) inventory: ArcSwap<Inventory>,
    pub(super) index: Index,
    pub(super) room: Arc<SpoolRoom>,
    pub(super) tokens: Arc<TokenKeys>,
    pub(super) settings: StorageSettings,
    pub(super) region: RegionId,
    /// What requests did since it was last written.
    pub(super) tally: Tally,
    /// Copies that reads pass over already.
    pub(super) distrusted: Distrusted,
    keys: MasterKeys,
    last_read: Mutex<Option<InventoryRead>>,
}

/// A reading of the rows.
#[derive(Clone, Copy)]
struct InventoryRead {
    begun: Instant,
    /// `None` until its end, and if the client on whose behalf it began has left.
    has_succeeded: Option<bool>,
}

impl Store {
    /// Puts it together; nothing is read yet.
    #[must_use]
    pub fn new(
        config: &StorageConfig,
        region: RegionId,
        database: Arc<Database>,
        tokens: Arc<TokenKeys>,
        steering: SteeringSettings,
    ) -> Self {
        let settings = config.settings.clone();
        Self {
            inventory: ArcSwap::from_pointee(Inventory::empty(steering)),
            index: Index {
                database: IndexDatabase(database),
                migrations: Arc::default(),
                lease: settings.lease,
                sweep_after: settings.sweep_after,
            },
            room: Arc::new(SpoolRoom::new(&settings)),
            tokens,
            settings,
            region,
            tally: Tally::default(),
            distrusted: Distrusted::default(),
            keys: config.keys.clone(),
            last_read: Mutex::new(None),
        }
    }

    /// Keeps buckets, repositories and keys up to date; never ends.
    pub async fn keep_up_to_date(self: Arc<Self>) {
        loop {
            // Without a primary, from a replica, so that reads go on after a restart.
            let refreshed = match self.refresh(Owed::STRONG).await {
                Err(StorageError::NoNode(_)) => self.refresh(Owed::EVENTUAL).await,
                refreshed => refreshed,
            };
            if let Err(error) = refreshed {
                tracing::warn!(%error, "the storage inventory cannot be read");
            }
            sleep(REFRESH_INTERVAL).await;
        }
    }

    /// Reads the rows again.
    pub(super) async fn refresh(&self, owed: Owed) -> Result<(), StorageError> {
        let mut last = self.last_read.lock().await;
        self.read_rows(&mut last, owed).await
    }

    /// Reads the rows again on behalf of a client that uses a name that is not known, unless that has
    /// begun since the client asked. Clients that guess names share one read in a while.
    ///
    /// # Errors
    /// If they cannot be read: then nothing can be said of the name.
    pub(super) async fn look_again(&self) -> Result<(), StorageError> {
        let asked = Instant::now();
        let mut last = self.last_read.lock().await;
        match *last {
            Some(read) if read.begun >= asked && read.has_succeeded == Some(true) => return Ok(()),
            Some(read) if read.begun >= asked && read.has_succeeded == Some(false) => {
                let text = "the storage inventory cannot be read";
                return Err(StorageError::NoNode(text.to_owned()));
            }
            Some(read) => sleep_until(read.begun + UNKNOWN_INTERVAL).await,
            None => {}
        }
        self.read_rows(&mut last, Owed::STRONG).await
    }

    async fn read_rows(
        &self,
        last: &mut Option<InventoryRead>,
        owed: Owed,
    ) -> Result<(), StorageError> {
        let read = last.insert(InventoryRead {
            begun: Instant::now(),
            has_succeeded: None,
        });
        let before = self.inventory.load_full();
        let root = &self.settings.file_root;
        let loaded = before
            .load(&self.index.database, owed, &self.keys, root)
            .await;
        read.has_succeeded = Some(loaded.is_ok());
        let loaded = loaded?;
        // Before the first key is known, so that it holds for the first request.
        self.index.migrations.look(&self.index.database, owed).await;
        self.inventory.store(Arc::new(loaded));
        Ok(())
    }

    /// The rows, on the primary.
    pub(super) fn registry(&self) -> Registry<'_> {
        Registry {
            rows: Rows::Gateway(&self.index.database),
            keys: &self.keys,
        }
    }

    /// Reads the rows again after a change of them. If that fails, they are read again soon.
    pub(super) async fn changed(&self) {
        if let Err(error) = self.refresh(Owed::STRONG).await {
            tracing::warn!(%error, "the storage inventory cannot be read");
        }
    }

    /// Finds a key pair by the id that clients send.
    ///
    /// # Errors
    /// If it is not known, and the rows cannot be read.
    pub(super) async fn key_pair(&self, id: &str) -> Result<Option<Arc<KeyPair>>, StorageError> {
        let find = || self.inventory.load().keys.get(id).cloned();
        if let Some(found) = find() {
            return Ok(Some(found));
        }
        self.look_again().await?;
        Ok(find())
    }
}
