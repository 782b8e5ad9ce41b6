//! How closely the nodes are watched: `[replication]` and `[health]`.

use std::time::Duration;

use tidegate_model::settings;
use tidegate_model::values::{DURATION, small_count};

settings! {
    /// `[replication]`: how closely the nodes are watched.
    #[derive(Debug, Clone)]
    pub struct ReplicationSettings {
        /// Time between two samples of a node. No bound tighter than about this plus a round trip can be
        /// proven.
        sample_interval: Duration = Duration::from_millis(250), DURATION,
            low "the nodes are busy answering samples.",
            high "tight bounds cannot be proven, so that their reads go to the primary.";
        /// Time after which a sample counts as failed; must exceed the longest round trip.
        sample_timeout: Duration = Duration::from_secs(1), DURATION,
            low "a distant node is never reachable.",
            high "a node that has gone is noticed late.";
        /// Lag above which a replica is avoided and `/health/edge` fails.
        max_lag: Duration = Duration::from_secs(5), DURATION,
            low "a burst of writes moves DNS.",
            high "eventual reads get old data while a fresher node could serve.";
    }
}

settings! {
    /// `[health]`: how many samples in a row it takes to call a dependency down or up.
    #[derive(Debug, Clone)]
    pub struct HealthSettings {
        /// Failed samples in a row until a dependency is down.
        fail_after: u32 = 3, small_count("samples"),
            low "at 1, a lost packet moves DNS.",
            high "clients are sent to a region that cannot serve them.";
        /// Good samples in a row until it is up again.
        pass_after: u32 = 2, small_count("samples"),
            low "a dependency that comes and goes moves DNS each time.",
            high "a region that has recovered stays out of DNS.";
    }
}

/// What the monitor needs to know beside the nodes.
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    /// The name of the monitor's sessions on the servers.
    pub application_name: String,
    /// Time between two samples of a node.
    pub sample_interval: Duration,
    /// Time after which a sample counts as failed.
    pub sample_timeout: Duration,
    /// Lag above which a replica is `Lagging`.
    pub max_lag: Duration,
    /// Failed samples in a row until a node is `Unreachable`.
    pub fail_after: u32,
    /// Good samples in a row until it no longer is.
    pub pass_after: u32,
}
