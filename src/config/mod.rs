//! Flags, environment and TOML file → validated plain data.

mod auth;
mod endpoint;
mod environment;
mod error;
mod limits;
mod logging;
mod policy_row;

pub use auth::{AuthConfig, KeySource};
pub use endpoint::{EndpointAuth, EndpointConfig};
pub use environment::Environment;
pub use error::{ConfigError, Place};
pub use limits::{
    ConsistencySettings, HealthSettings, PoolSettings, ReplicationSettings, ServerSettings,
};
pub use logging::LogFormat;
pub use policy_row::PolicyRow;
