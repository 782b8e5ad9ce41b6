//! The settings of the monitor.

use std::time::Duration;

/// What the monitor needs to know besides the nodes.
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    /// The name of the monitor's sessions on the servers.
    pub application_name: String,
    /// Time between two samples of a node.
    pub sample_interval: Duration,
    /// Time after which a sample counts as failed.
    pub sample_timeout: Duration,
    /// Lag above which a replica is [`Lagging`](tidegate_model::Condition::Lagging).
    pub max_lag: Duration,
    /// Failed samples in a row until a node is [`Unreachable`](tidegate_model::Condition::Unreachable).
    pub fail_after: u32,
    /// Good samples in a row until it no longer is.
    pub pass_after: u32,
}
