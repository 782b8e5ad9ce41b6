//! How a selector steers.

use std::time::Duration;

/// `[steering]`, as far as choosing goes.
#[derive(Clone, Debug)]
pub struct SteeringSettings {
    /// How long a ranking is used before it is made anew, unless a breaker moves; 60 s. Longer
    /// reacts late to latencies that shift, shorter gains nothing over `dwell`.
    pub ranking_ttl: Duration,
    /// How long a challenger must be clearly faster before it overtakes; 30 s. A node that failed
    /// is trusted again after half of it without another failure. Shorter flaps, longer stays away.
    pub dwell: Duration,
    /// What makes this process's pauses differ from every other's.
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
