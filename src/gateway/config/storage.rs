//! Object storage, from flags, variables and file.

use super::address::listener;
use super::merge::Merge;
use super::parts::auth_config;
use crate::auth::KeySource;
use crate::storage::{
    MasterKeys, STORAGE_API_LISTEN, STORAGE_LISTEN, STORAGE_MASTER_KEY, StorageConfig,
};
use tidegate_model::Environment;
use tidegate_model::{ConfigError, Place};

/// Returns what object storage needs, if this gateway serves it.
pub(super) fn storage(merge: &Merge<'_>) -> Result<Option<StorageConfig>, ConfigError> {
    let api = listener(merge, &STORAGE_API_LISTEN)?;
    let refused = |why: &str| {
        let place = Place::Name(STORAGE_API_LISTEN.name());
        Err(ConfigError::new(&place, why))
    };
    let Some(listen) = listener(merge, &STORAGE_LISTEN)? else {
        return match api {
            Some(_) => refused("has no effect without STORAGE_ADDR"),
            None => Ok(None),
        };
    };
    if api.is_some() && matches!(auth_config(merge.environment)?.keys, KeySource::None) {
        return refused("needs AUTH_JWT_SECRET or AUTH_JWKS_URL: every request has a bearer token");
    }
    Ok(Some(StorageConfig {
        listen,
        api,
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
            "is required with STORAGE_ADDR and by `tidegate storage`: {}",
            (STORAGE_MASTER_KEY.range)()
        ))
    })?;
    MasterKeys::parse(text).map_err(refused)
}
