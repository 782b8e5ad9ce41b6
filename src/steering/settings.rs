//! `[steering]`: what an operator may set.

use std::time::Duration;

use tidegate_model::settings;
use tidegate_model::values::{DURATION, Share, small_count};

settings! {
    /// `[steering]`: which of several nodes that could serve is tried first, and how often requests are
    /// tried again. It applies to databases, to the nodes of every upstream, and to buckets.
    #[derive(Debug, Clone, PartialEq)]
    pub struct SteeringSettings {
        /// How long an order of nodes is used before it is made anew, unless a breaker moves.
        ranking_ttl: Duration = Duration::from_secs(60), DURATION,
            low "nothing is gained below `dwell`.",
            high "latencies that shift are followed late.";
        /// How long a node must be clearly (20 %) faster before it overtakes another; a node that failed is
        /// trusted again after half of it without another failure.
        dwell: Duration = Duration::from_secs(30), DURATION,
            low "requests flap between nodes.",
            high "requests stay away from the nearest node.";
        /// Retries and hedges that each request to a node pays for, beside ten a second; 0 turns them off.
        retry_budget: f64 = 0.2, Share,
            low "single failures reach clients.",
            high "the load multiplies when a node fails.";
        /// Connections opened to one node within a second.
        reconnects_per_second_max: u32 = 20, small_count("connections"),
            low "a node that comes back is used late.",
            high "gateways that lost a node together return as a stampede.";
    }
}
