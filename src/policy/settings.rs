//! `[consistency]`: what an operator may set.

use std::time::Duration;

use tidegate_model::settings;
use tidegate_model::values::DURATION_OR_ZERO;

settings! {
    /// `[consistency]`: what the levels cost.
    #[derive(Debug, Clone)]
    pub struct ConsistencySettings {
        /// How long a session read waits for a replica to reach its token before it goes elsewhere.
        session_wait: Duration = Duration::from_millis(50), DURATION_OR_ZERO,
            low "reads that follow a write go to the primary although a replica is almost there.",
            high "clients wait longer than the way to the primary takes.";
    }
}
