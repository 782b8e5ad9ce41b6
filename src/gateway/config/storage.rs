//! Object storage, from flags, variables and file.

use super::address::Address;
use super::merge::Merge;
use crate::storage::{MasterKeys, STORAGE_LISTEN, STORAGE_MASTER_KEY, StorageConfig};
use tidegate_model::Environment;
use tidegate_model::{ConfigError, Place};

/// Returns what object storage needs, if this gateway serves it.
pub(super) fn storage(merge: &Merge<'_>) -> Result<Option<StorageConfig>, ConfigError> {
    let Some(Address(listen)) = merge.value(&STORAGE_LISTEN)? else {
        return Ok(None);
    };
    Ok(Some(StorageConfig {
        listen,
        keys: storage_keys(merge.environment)?,
        settings: merge.file.content.storage.clone(),
    }))
}

/// Returns the keys of `STORAGE_MASTER_KEY`.
///
/// # Errors
/// If it is not set, or a key is not one.
pub fn storage_keys(environment: &Environment) -> Result<MasterKeys, ConfigError> {
    let name = STORAGE_MASTER_KEY.name();
    let refused = |why: String| ConfigError::new(&Place::Name(name), why);
    let text = environment.get(name);
    let text = text.ok_or_else(|| {
        refused(format!(
            "is required with STORAGE_ADDR: {}",
            (STORAGE_MASTER_KEY.range)()
        ))
    })?;
    MasterKeys::parse(text).map_err(refused)
}
