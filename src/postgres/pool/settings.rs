//! `[pool]`: what an operator may set.

use std::time::Duration;

use serde::Deserialize;
use tidegate_model::values::{count, duration};

/// `[pool]`: connections to one node.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// Most connections to one node. All gateways together must stay below the server's
    /// `max_connections`.
    #[serde(deserialize_with = "count")]
    pub connections_max: usize,
    /// Connections kept open to every node at least, so that a first request need not wait for one;
    /// as many more are kept open as the load of any one other node would need.
    #[serde(deserialize_with = "count")]
    pub connections_min: usize,
    /// Time to open one connection, TLS and authentication included: some ten round trips.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// Time a request waits for a free connection.
    #[serde(deserialize_with = "duration")]
    pub acquire_timeout: Duration,
    /// Longest statement; PostgreSQL itself ends a longer one.
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            connections_max: 16,
            connections_min: 2,
            connect_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_millis(1_500),
            statement_timeout: Duration::from_secs(5),
        }
    }
}
