//! Whether the database has been migrated to what this version uses. A gateway may start before: it serves without
//! what the newest migration adds.

use std::sync::atomic::{AtomicBool, Ordering};

use super::StorageError;
use super::database::IndexDatabase;
use super::owed::Owed;

/// Whether there is what migration 9, the newest, has added.
const IS_CURRENT: &str = "select to_regprocedure('tidegate.storage_put_part(text, integer, text, bigint, text, \
     text, jsonb, text[], interval)') is not null";

/// What the migrations that were run let a gateway do.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    is_current: AtomicBool,
    is_said: AtomicBool,
}

impl Migrations {
    /// Whether parts of uploads are stored with their checksums: since migration 9.
    pub(super) fn keeps_checksums_of_parts(&self) -> bool {
        self.is_current.load(Ordering::Relaxed)
    }

    /// Looks at the database, unless it is known to be up to date. If that fails, it counts as older.
    pub(super) async fn look(&self, database: &IndexDatabase, owed: Owed) {
        if self.keeps_checksums_of_parts() {
            return;
        }
        match is_current(database, owed).await {
            Ok(true) => self.is_current.store(true, Ordering::Relaxed),
            Ok(false) if self.is_said.swap(true, Ordering::Relaxed) => {}
            Ok(false) => tracing::warn!(
                "the tables of object storage are older than this version: run `tidegate migrate --only storage`; \
                 until then, checksums of parts are not kept"
            ),
            Err(error) => tracing::debug!(%error, "the version of the tables cannot be read"),
        }
    }
}

async fn is_current(database: &IndexDatabase, owed: Owed) -> Result<bool, StorageError> {
    let rows = database.read(owed, IS_CURRENT, &[]).await?.rows;
    Ok(rows.first().map_or(Ok(false), |row| row.try_get(0))?)
}
