//! The limits an operator may set, one struct per section of the file.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::networks::networks;
use tidegate_model::values::{
    byte_size, byte_size_or_zero, count, duration, duration_or_zero, share, small_count,
};

/// `[server]`: what one client may take from the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Open client connections; one more is closed at once. Too low refuses clients, too high runs
    /// into the limit of open files.
    #[serde(deserialize_with = "count")]
    pub connections_max: usize,
    /// Requests that nodes are asked for at the same time; one more is refused with 503. Idle
    /// connections, bodies on their way and answers from memory do not count. Too low refuses
    /// bursts that would have been served; too high lets memory grow first, by some 20 KiB and the
    /// body for each.
    #[serde(deserialize_with = "count")]
    pub requests_max: usize,
    /// Time from the first byte of a request head to its last. Too high lets slow heads pile up.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// Time a kept-alive connection may be silent. Must exceed the idle timeout of the load
    /// balancer in front (60 s for an ALB), or it sends requests into connections being closed.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// Time for a whole request body to arrive.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// Time to get an answer from the nodes once the request has been read, all tries included.
    /// Too low ends statements that would have answered; too high keeps clients waiting in vain.
    #[serde(deserialize_with = "duration")]
    pub request_deadline: Duration,
    /// Largest request body; a larger one is answered 413.
    #[serde(deserialize_with = "byte_size")]
    pub body_bytes_max: usize,
    /// After SIGTERM: how long the listener keeps serving while health checks already fail, so
    /// that load balancers move away first.
    #[serde(deserialize_with = "duration_or_zero")]
    pub drain_delay: Duration,
    /// After that: how long requests in flight may take to finish.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// Networks of the proxies in front, whose word in `X-Forwarded-For` is taken. A proxy missing
    /// here makes all its clients one, with one budget; one too many lets clients choose their
    /// address. Default none: the client is whoever connects.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            requests_max: 10_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            request_deadline: Duration::from_secs(10),
            body_bytes_max: 1 << 20,
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[replication]`: how closely the nodes are watched.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicationSettings {
    /// Time between two samples of a node. No bound tighter than about this plus a round trip can
    /// be proven.
    #[serde(deserialize_with = "duration")]
    pub sample_interval: Duration,
    /// Time after which a sample counts as failed; must exceed the longest round trip.
    #[serde(deserialize_with = "duration")]
    pub sample_timeout: Duration,
    /// Lag above which a replica is avoided and `/health/edge` fails.
    #[serde(deserialize_with = "duration")]
    pub max_lag: Duration,
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self {
            sample_interval: Duration::from_millis(250),
            sample_timeout: Duration::from_secs(1),
            max_lag: Duration::from_secs(5),
        }
    }
}

/// `[health]`: how many samples in a row it takes to call a dependency down or up.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// Failed samples in a row until a dependency is down. At 1 a lost packet moves DNS.
    #[serde(deserialize_with = "small_count")]
    pub fail_after: u32,
    /// Good samples in a row until it is up again.
    #[serde(deserialize_with = "small_count")]
    pub pass_after: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            fail_after: 3,
            pass_after: 2,
        }
    }
}

/// `[consistency]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencySettings {
    /// How long a session read waits for a replica to reach its token before it goes elsewhere.
    #[serde(deserialize_with = "duration_or_zero")]
    pub session_wait: Duration,
}

impl Default for ConsistencySettings {
    fn default() -> Self {
        Self {
            session_wait: Duration::from_millis(50),
        }
    }
}

/// `[cache]`: answers kept in memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Bytes of all answers together, with what keeping them takes; 0 turns the cache off. Too low
    /// and answers are evicted before they are asked for again; too high and the process outgrows
    /// its memory.
    #[serde(deserialize_with = "byte_size_or_zero")]
    pub bytes_max: usize,
    /// Largest answer that is kept; a larger one is fetched for every request. Too high and a few
    /// large answers evict all others.
    #[serde(deserialize_with = "byte_size")]
    pub entry_bytes_max: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            entry_bytes_max: 1 << 20,
        }
    }
}

/// `[steering]`: which of several nodes that could serve is asked first, and how often again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SteeringSettings {
    /// How long an order of nodes is used before it is made anew, unless a breaker moves.
    #[serde(deserialize_with = "duration")]
    pub ranking_ttl: Duration,
    /// How long a node must be clearly faster before it overtakes another; a node that failed is
    /// trusted again after half of it without another failure. Too short flaps, too long stays away
    /// from the nearest node.
    #[serde(deserialize_with = "duration")]
    pub dwell: Duration,
    /// Second tries that each request to a node pays for, from 0 to 1, beside ten a second; 0 turns
    /// them off. Too low lets single failures through to clients, too high multiplies the load when
    /// a node fails.
    #[serde(deserialize_with = "share")]
    pub retry_budget: f64,
    /// Connections opened to one node within a second. Too low delays the recovery of a node, too
    /// high lets gateways that lost it together return as a stampede.
    #[serde(deserialize_with = "small_count")]
    pub reconnects_per_second_max: u32,
}

impl Default for SteeringSettings {
    fn default() -> Self {
        Self {
            ranking_ttl: Duration::from_secs(60),
            dwell: Duration::from_secs(30),
            retry_budget: 0.2,
            reconnects_per_second_max: 20,
        }
    }
}

/// `[spill]`: what the primary does for replicas that cannot serve.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpillSettings {
    /// Eventual, session and bounded reads that the primary serves at the same time in place of a
    /// replica. Too low refuses readers while the primary idles, too high slows down its writers.
    #[serde(deserialize_with = "count")]
    pub concurrency_max: usize,
}

impl Default for SpillSettings {
    fn default() -> Self {
        Self {
            concurrency_max: 16,
        }
    }
}
