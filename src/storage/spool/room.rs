//! The room for bodies: memory and disk, of all requests together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::storage::backend::PART_BYTES;
use crate::storage::{StorageError, StorageSettings};

/// The unit in which room is counted.
pub(super) const UNIT: usize = 1 << 10;
/// How long a body waits for room for its next part.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(30);

/// The room for bodies, of all requests together.
pub(in crate::storage) struct SpoolRoom {
    /// For what is kept.
    pub(super) memory: Arc<Semaphore>,
    pub(super) files: Arc<Semaphore>,
    /// For parts that are sent, and are not in memory anyway.
    pub(super) parts: Arc<Semaphore>,
    pub(super) parts_units: u32,
    pub(super) bytes_max: u64,
    pub(super) directory: std::path::PathBuf,
}

impl SpoolRoom {
    pub(in crate::storage) fn new(settings: &StorageSettings) -> Self {
        let units =
            |bytes: usize| Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)));
        // One part must always be possible.
        let parts = (settings.spool_memory_max / 2).max(PART_BYTES);
        Self {
            memory: units(settings.spool_memory_max / 2),
            files: units(settings.spool_total_max),
            parts: units(parts),
            parts_units: units_of(parts),
            bytes_max: settings.spool_bytes_max as u64,
            directory: match settings.spool_dir.as_str() {
                "" => std::env::temp_dir(),
                directory => directory.into(),
            },
        }
    }

    /// Waits for room for a part.
    pub(super) async fn part(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StorageError> {
        let units = units_of(bytes).min(self.parts_units);
        let room = Arc::clone(&self.parts).acquire_many_owned(units);
        match timeout(ROOM_WAIT_MAX, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(StorageError::Busy),
        }
    }
}

pub(super) fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
