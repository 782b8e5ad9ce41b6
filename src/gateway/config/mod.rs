//! Flags, environment and TOML file → validated plain data.
//!
//! [`Settings::resolve`] is the only entry point: flags win over variables, variables over the file, the
//! file over the defaults. An impossible value is a [`ConfigError`](tidegate_model::ConfigError) that names the variable, or the
//! file, line and key. Nothing here opens a socket; compiling policies and statements is left to the
//! rooms that use them, which report errors with the [`Place`](tidegate_model::Place) kept with each row.

mod address;
mod admin_section;
mod endpoint_keys;
mod page_section;
mod endpoint_section;
mod file;
mod fleet;
mod fleet_section;
mod in_force;
mod listeners;
mod merge;
mod overrides;
mod parts;
mod policy_section;
mod reference;
mod region_tables;
mod route_tables;
mod settings;
mod source;
mod storage;
mod topology;
mod upstream_section;

pub use fleet_section::fleet_word;
pub use in_force::{InForce, in_force};
pub use overrides::Overrides;
pub use parts::{
    auth_config, cache_settings, fleet_name, fleet_peers, has_fleet, own_region, storage_settings,
    token_keys,
};
pub use reference::{CONFIG, PROCESS, TABLES, Table};
pub use settings::Settings;
pub use storage::storage_keys;
pub use topology::ReplicaConfig;

#[cfg(test)]
mod tests;
