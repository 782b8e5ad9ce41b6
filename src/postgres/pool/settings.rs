//! `[pool]` and `[spill]`: what an operator may set.

use std::time::Duration;

use tidegate_model::settings;
use tidegate_model::values::{DURATION, count};

settings! {
    /// `[pool]`: connections to one node.
    #[derive(Debug, Clone)]
    pub struct PoolSettings {
        /// Most connections to one node. All gateways together, each with two more to watch the node
        /// and its catalogue, must fit into the server's `max_connections`.
        connections_max: usize = 16, count("connections"),
            low "requests wait for a connection while the server idles.",
            high "the server runs out of connections, or spends its time switching between them.";
        /// Connections kept open to every node at least, so that a first request need not wait for one;
        /// as many more are kept open as the load of any one other node would need. At most
        /// `connections_max`.
        connections_min: usize = 2, count("connections"),
            low "the first requests after a pause wait for a connection to open.",
            high "idle connections take memory on the server.";
        /// Time to open one connection, TLS and authentication included: some ten round trips.
        connect_timeout: Duration = Duration::from_secs(5), DURATION,
            low "a distant node is never reached.",
            high "a node that went away without a word is noticed late.";
        /// Time a request waits for a free connection.
        acquire_timeout: Duration = Duration::from_millis(1_500), DURATION,
            low "bursts are refused that would have been served a moment later.",
            high "clients wait for what is refused in the end.";
        /// Longest statement; PostgreSQL itself ends a longer one.
        statement_timeout: Duration = Duration::from_secs(5), DURATION,
            low "statements end that would have answered.",
            high "slow statements hold connections that others need.";
    }
}

settings! {
    /// `[spill]`: what the primary does for replicas that cannot serve.
    #[derive(Debug, Clone)]
    pub struct SpillSettings {
        /// Eventual, session and bounded reads that are at work at the primary at the same time in place
        /// of a replica; their time on the way does not count. Fewer while the primary answers slowly, and
        /// never more than half of `[pool] connections_max`.
        concurrency_max: usize = 16, count("reads"),
            low "readers are refused while the primary idles.",
            high "a broken replica slows the primary's writers down.";
    }
}
