//! What commands need of a configuration, without the rest of it.

use super::Overrides;
use super::address::is_off;
use super::file::ConfigFile;
use super::fleet::peers;
use super::fleet_section::fleet_word;
use super::merge::Merge;
use super::reference::CONFIG;
use crate::auth::AuthConfig;
use crate::cache::CacheSettings;
use crate::peers::Peer;
use crate::policy_store::FLEET_NAME;
use crate::storage::StorageSettings;
use tidegate_model::{ConfigError, Environment, Place, RegionId, TokenKeys};

/// The operator's file, if one is named.
pub(super) fn operator_file(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Option<ConfigFile>, ConfigError> {
    let flag = overrides.get(&CONFIG).map(|(_, path)| path);
    let path = flag.or_else(|| environment.get(CONFIG.name()));
    path.map(ConfigFile::read).transpose()
}

/// `[cache]` of the operator's file alone.
///
/// # Errors
/// Names the file, line and key that cannot be used.
pub fn cache_settings(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<CacheSettings, ConfigError> {
    let Some(file) = operator_file(overrides, environment)? else {
        return Ok(CacheSettings::default());
    };
    check_cache(&file)?;
    Ok(file.content.cache)
}

/// `[storage]` of the operator's file alone.
///
/// # Errors
/// Names the file, line and key that cannot be used.
pub fn storage_settings(
    overrides: &Overrides,
    environment: &Environment,
) -> Result<StorageSettings, ConfigError> {
    let file = operator_file(overrides, environment)?.map_or_else(ConfigFile::built_in, Ok)?;
    Ok(file.content.storage)
}

/// Whether a configuration has a `[fleet]`.
///
/// # Errors
/// When the file cannot be read.
pub fn has_fleet(environment: &Environment) -> Result<bool, ConfigError> {
    let file = operator_file(&Overrides::default(), environment)?;
    let has_section = file.is_some_and(|file| file.content.fleet.is_used());
    Ok(has_section || has_listener(environment))
}

/// Whether an environment has a listener for the fleet.
fn has_listener(environment: &Environment) -> bool {
    let listen = environment.get("FLEET_ADDR");
    listen.is_some_and(|text| !is_off(text))
}

/// The fleet's name in a configuration, if there is one.
///
/// # Errors
/// When the file cannot be read.
pub fn fleet_name(environment: &Environment) -> Result<Option<String>, ConfigError> {
    of_environment(environment, |merge| {
        let is_used = merge.file.content.fleet.is_used() || has_listener(environment);
        let unnamed = is_used.then(|| "default".to_owned());
        Ok(merge.value_by(&FLEET_NAME, fleet_word)?.or(unnamed))
    })
}

/// The fleet's peers in a configuration, if it lists any. An operator's environment has no listener for the fleet: that is
/// not asked for.
///
/// # Errors
/// Names the file, line and key that cannot be used.
pub fn fleet_peers(environment: &Environment) -> Result<Vec<Peer>, ConfigError> {
    of_environment(environment, peers)
}

/// The region of a configuration, if it names one.
///
/// # Errors
/// Names the variable, or the file, line and key, that cannot be used.
pub fn own_region(environment: &Environment) -> Result<Option<RegionId>, ConfigError> {
    of_environment(environment, |merge| merge.value(&RegionId::SETTING))
}

/// How bearer tokens are verified.
///
/// # Errors
/// See [`AuthConfig::resolve`].
pub fn auth_config(environment: &Environment) -> Result<AuthConfig, ConfigError> {
    AuthConfig::resolve(|name| environment.get(name))
}

/// The keys of `TOKEN_SECRET`, if it is set.
///
/// # Errors
/// When a key is too short or there are too many.
pub fn token_keys(environment: &Environment) -> Result<Option<TokenKeys>, ConfigError> {
    let keys = environment
        .get("TOKEN_SECRET")
        .map(TokenKeys::parse)
        .transpose();
    keys.map_err(|error| ConfigError::new(&Place::Name("TOKEN_SECRET"), error))
}

/// Reads something of a configuration that a command needs without the rest.
fn of_environment<T>(
    environment: &Environment,
    read: impl FnOnce(&Merge<'_>) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let overrides = Overrides::default();
    let file = operator_file(&overrides, environment)?;
    let file = file.map_or_else(ConfigFile::built_in, Ok)?;
    read(&Merge {
        overrides: &overrides,
        environment,
        file: &file,
    })
}

/// An answer limit above that of the whole cache is a contradiction.
pub(super) fn check_cache(file: &ConfigFile) -> Result<(), ConfigError> {
    let CacheSettings {
        bytes_max: all,
        entry_bytes_max: one,
    } = file.content.cache;
    let keys = [
        (
            "entry_bytes_max",
            format!("it must not be above bytes_max, which is {all} bytes"),
        ),
        (
            "bytes_max",
            format!("it must not be below entry_bytes_max, which is {one} bytes, or 0"),
        ),
    ];
    match file.source.refused_in("cache", keys.into_iter()) {
        Some(error) if all > 0 && one > all => Err(error),
        _ => Ok(()),
    }
}
