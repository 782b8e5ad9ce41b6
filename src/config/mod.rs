//! Flags, environment and TOML file → validated plain data.
//!
//! [`Settings::resolve`] is the one way in: flags win over variables, variables over the file, the
//! file over the defaults. An impossible value is a [`ConfigError`](tidegate_model::ConfigError) that names the variable, or the
//! file, line and key. Nothing here opens a socket; compiling policies and statements is left to the
//! rooms that use them, which report errors with the [`Place`](tidegate_model::Place) kept beside each row.

mod admin_section;
mod auth;
mod endpoint;
mod endpoint_section;
mod environment;
mod file;
mod limits;
mod networks;
mod route_tables;
mod settings;
mod upstream;
mod upstream_section;

pub use auth::{AuthConfig, KeySource};
pub use endpoint::{
    EndpointAuth, EndpointConfig, EndpointMethod, SqlConfig, TargetConfig, UpstreamTarget,
};
pub use environment::Environment;
pub use limits::{
    CacheSettings, ConsistencySettings, HealthSettings, ReplicationSettings, ServerSettings,
    SpillSettings, SteeringSettings,
};
pub use route_tables::RouteTables;
pub use settings::{Overrides, ReplicaConfig, Settings, token_keys};
pub use upstream::{
    CheckConfig, NodeUrl, NodeUrlError, UpstreamConfig, UpstreamLimits, UpstreamNodeConfig,
    UpstreamSettings,
};

#[cfg(test)]
mod tests;
