//! `[server]` and the two listeners: what an operator may set.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tidegate_model::settings;
use tidegate_model::settings::Setting;
use tidegate_model::values::{ByteSize, DURATION, DURATION_OR_ZERO, count};

use super::networks::Networks;

/// The default address of the public listener.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// The default address of the admin listener: reachable from this machine only.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The address of the public listener.
pub const LISTEN: Setting = Setting {
    key: "listen",
    variable: Some("LISTEN_ADDR"),
    flag: Some("--listen"),
    default: || LISTEN_DEFAULT.to_string(),
    range: || "an IP address and a port".to_owned(),
    meaning: "The public listener.",
    ..Setting::UNNAMED
};

/// The address of the admin listener.
pub const ADMIN: Setting = Setting {
    key: "admin",
    variable: Some("ADMIN_ADDR"),
    flag: Some("--admin"),
    default: || ADMIN_DEFAULT.to_string(),
    range: || "an IP address and a port".to_owned(),
    meaning: "The admin listener. It must not be reachable for clients; see \
              [there](security.md#the-admin-listener).",
    ..Setting::UNNAMED
};

/// The token required for writes over the admin listener.
pub const ADMIN_TOKEN: Setting = Setting {
    variable: Some("ADMIN_TOKEN"),
    default: || "none".to_owned(),
    range: || "visible ASCII characters, not empty".to_owned(),
    shown: Setting::secret,
    meaning: "The bearer token for [writes over the admin listener](security.md#the-admin-listener). Without \
              it, they are possible on a loopback address only.",
    ..Setting::UNNAMED
};

/// `[admin]`: the admin listener as a section.
pub const ADMIN_SECTION: &[Setting] = &[
    Setting {
        key: "listen",
        default: || format!("\"{ADMIN_DEFAULT}\""),
        range: || "an IP address and a port".to_owned(),
        meaning: "Where it listens; `admin = \"…\"` before the first section is the short form.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "hosts",
        default: || "[]".to_owned(),
        range: || "names of hosts, without ports".to_owned(),
        meaning: "The names that it answers for, beside addresses and `localhost`.",
        ..Setting::UNNAMED
    },
];

settings! {
    /// `[server]`: what one client may take from the process.
    #[derive(Debug, Clone)]
    pub struct ServerSettings {
        /// Open client connections; one more is closed at once.
        connections_max: usize = 20_000, count("connections"),
            low "clients are turned away.",
            high "the process runs into the limit of open files, of which each connection takes one.";
        /// Requests that nodes are asked for at the same time; one more is refused with 503. Idle
        /// connections, bodies on their way and answers from memory do not count.
        requests_max: usize = 10_000, count("requests"),
            low "bursts are refused that would have been served.",
            high "memory grows first, by some 20 KiB and the body for each.";
        /// Time from the first byte of a request head to its last.
        header_timeout: Duration = Duration::from_secs(10), DURATION,
            low "slow mobile clients are cut off.",
            high "clients that send slowly on purpose hold connections.";
        /// Time a kept-alive connection may be silent. Must exceed the idle timeout of the load balancer
        /// in front (60 s for an ALB).
        idle_timeout: Duration = Duration::from_secs(75), DURATION,
            low "the load balancer sends requests into connections that are being closed, and its clients get 502.",
            high "absent clients hold open files.";
        /// Time for a whole request body to arrive.
        body_timeout: Duration = Duration::from_secs(30), DURATION,
            low "large bodies over slow links get 408.",
            high "clients that send slowly on purpose hold memory.";
        /// Time to get an answer from the nodes once the request has been read, all attempts included.
        request_deadline: Duration = Duration::from_secs(10), DURATION,
            low "statements end that would have answered.",
            high "clients wait for what is refused in the end.";
        /// Largest request body; a larger one is answered 413.
        body_bytes_max: usize = 1 << 20, ByteSize,
            low "honest requests are refused.",
            high "few clients fill the memory: each body of an SQL endpoint is held whole.";
        /// After SIGTERM: how long the listener keeps serving while health checks already fail, so that
        /// load balancers move away first.
        drain_delay: Duration = Duration::from_secs(5), DURATION_OR_ZERO,
            low "load balancers still send requests when the listener is gone.",
            high "the platform kills the process before it has drained.";
        /// After that: how long requests in flight may take to finish. Must exceed `request_deadline`.
        drain_timeout: Duration = Duration::from_secs(30), DURATION,
            low "requests in flight are cut off.",
            high "the platform kills the process before it has drained.";
        /// Networks of the proxies in front, whose word in `X-Forwarded-For` is taken; with none, the
        /// client is the other end of the connection. The clients of a proxy that is missing share one
        /// address and one rate limit; with a network too many, clients choose their own address.
        trusted_proxies: Vec<IpNet> = Vec::new(), Networks;
    }
}
