//! The settings of a selector.

use std::time::Duration;

/// The part of `[steering]` that concerns the choice of a node.
#[derive(Clone, Debug)]
pub struct SteeringSettings {
    /// How long a ranking is used before it is recomputed, unless a breaker moves; 60 s. A longer
    /// time reacts late to changes in latency, a shorter one gains nothing over `dwell`.
    pub ranking_ttl: Duration,
    /// How long a challenger must be clearly faster before it overtakes; 30 s. A node that failed
    /// is trusted again after half of it without another failure. If it is too short, traffic
    /// flaps; if it is too long, a recovered node is left unused.
    pub dwell: Duration,
    /// The seed that makes the pauses of this process differ from those of others.
    pub seed: u64,
}

impl Default for SteeringSettings {
    fn default() -> Self {
        Self {
            ranking_ttl: Duration::from_secs(60),
            dwell: Duration::from_secs(30),
            seed: 0,
        }
    }
}
