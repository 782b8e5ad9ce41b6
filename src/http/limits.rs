//! The limits of one listener and one connection.

use std::time::Duration;

use crate::config::ServerSettings;

/// Request head limit of the public listener. CloudFront sends no more than 20,480 bytes; an
/// application load balancer allows 64 KiB, which is not needed here.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// How much longer an answer may stall while it is sent than it may take to be produced.
const WRITE_MARGIN: Duration = Duration::from_secs(5);

/// One line in ten seconds shows that a problem persists and is still readable.
pub(super) const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Bounds of one listener and its connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. One more is accepted and closed at once, so that the others are
    /// unaffected. If it is too low, clients are refused; if it is too high, the limit of open
    /// files is reached, of which each connection uses one. Default 20,000.
    pub connections_max: usize,
    /// Time from the first byte of a request head (for the first request: from the connection's
    /// start) until the head is complete. If it is too low, slow mobile clients are cut off; if it
    /// is too high, slow-loris clients can hold connections. Default 10 s. On HTTP/2 it covers the
    /// preface and the first head; a later half-sent head counts as silence, see `idle_timeout`.
    pub header_timeout: Duration,
    /// Time that a kept-alive connection may be without a request. Must exceed the idle timeout of
    /// the load balancer in front: an ALB (60 s) that believes a connection is alive while this
    /// side is closing it sends a request on it and answers its client with 502. If it is too high,
    /// files are kept open for absent clients. Default 75 s.
    pub idle_timeout: Duration,
    /// Time that an answer may make no progress: a client has stopped reading (HTTP/1.1, or a whole
    /// HTTP/2 connection) or keeps the flow-control window of its stream closed (HTTP/2). Must
    /// exceed the request deadline, because waiting for the answer is not progress either. If it is
    /// too high, clients that do not read can hold answers in memory. Default 30 s.
    pub write_timeout: Duration,
    /// Bytes of a request head, request line included; a larger one is answered with 431. At least
    /// 8 KiB, the smallest buffer hyper reads into. The number of fields is bounded too: hyper
    /// refuses more than 100 on HTTP/1.1, and on HTTP/2 each field counts 32 bytes extra. Default
    /// 32 KiB.
    pub header_bytes_max: usize,
    /// Concurrent HTTP/2 requests on one connection. If it is too low, proxies that share a
    /// connection queue; if it is too high, it multiplies `connections_max`. Default 200.
    pub streams_max: u32,
    /// How long the listener keeps serving after a drain began, while health checks already fail,
    /// so that load balancers move away first. If it is too low, they still send requests when the
    /// listener is closed. Default 5 s.
    pub drain_delay: Duration,
    /// How long requests in flight may then take before they are cut off. Must exceed the
    /// request deadline; together with `drain_delay` it must stay below the time the platform
    /// leaves between SIGTERM and SIGKILL. Default 30 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            header_bytes_max: HEADER_BYTES_MAX,
            streams_max: 200,
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The limits of the admin listener: a few scrapers and operators, and no delay when it stops.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            connections_max: 64,
            header_bytes_max: 16 * 1024,
            streams_max: 16,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(2),
            ..Self::default()
        }
    }
}

impl From<&ServerSettings> for Limits {
    /// The limits of the public listener.
    fn from(settings: &ServerSettings) -> Self {
        let default = Self::default();
        let write_timeout = default
            .write_timeout
            .max(settings.request_deadline + WRITE_MARGIN);
        Self {
            connections_max: settings.connections_max,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            write_timeout,
            drain_delay: settings.drain_delay,
            drain_timeout: settings.drain_timeout,
            ..default
        }
    }
}
