//! The limits of one listener and one connection.

use std::time::Duration;

use super::ServerSettings;

/// Request head limit of the public listener. CloudFront sends no more than 20,480 bytes; an
/// application load balancer allows 64 KiB, which is not needed here.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Streams of one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Connections of the admin listener: 64 viewers of the page with the six that a browser opens to one server,
/// and 128 for scrapers, probes and operators. One that was just used takes about 14 KiB, all of them 7 MiB.
const ADMIN_CONNECTIONS_MAX: usize = 64 * 6 + 128;

/// Browsers keep connections that a page needed no longer; scrapers come back later than this anyway.
const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// A busy connection never rests, and one that rests costs little when it is used again: a few allocations and
/// one more system call.
const REST_AFTER: Duration = Duration::from_secs(1);

/// One line in ten seconds shows that a problem persists and is still readable.
pub(super) const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Bounds of one listener and its connections. What [`ServerSettings`] sets is described there.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. One more is accepted and closed at once, so that the others are
    /// unaffected.
    pub connections_max: usize,
    /// Time from the first byte of a request head (for the first request: from the connection's
    /// start) until the head is complete. On HTTP/2 it covers the preface and the first head; a later
    /// half-sent head counts as silence, see `idle_timeout`.
    pub header_timeout: Duration,
    /// Time a kept-alive connection may be without a request.
    pub idle_timeout: Duration,
    /// Time without a request after which an HTTP/1 connection gives back its buffers; the next request allocates
    /// them again.
    pub rest_after: Duration,
    /// Time that a client may take no byte of an answer: a client that stopped reading (HTTP/1.1, or a
    /// whole HTTP/2 connection) or keeps the flow-control window of its stream shut (HTTP/2). Too high
    /// lets clients that do not read pin answers in memory.
    pub write_timeout: Duration,
    /// Bytes of a request head, request line included; a larger one is answered with 431. At least
    /// 8 KiB, the smallest buffer hyper reads into. The number of fields is bounded too: hyper
    /// refuses more than 100 on HTTP/1.1, and on HTTP/2 each field counts 32 bytes extra.
    pub header_bytes_max: usize,
    /// HTTP/2 requests at the same time on one connection. Too low makes proxies that share a
    /// connection queue; too high multiplies `connections_max`.
    pub streams_max: u32,
    /// How long the listener keeps serving after a drain began.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that before they are cut off.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&ServerSettings::default())
    }
}

impl Limits {
    /// The limits of the admin listener: a few scrapers and operators, 64 viewers of the page beside them, and
    /// no delay when it stops.
    #[must_use]
    pub fn admin() -> Self {
        Self {
            connections_max: ADMIN_CONNECTIONS_MAX,
            // Before its first request a connection is not idle: its head is awaited.
            header_timeout: ADMIN_IDLE_TIMEOUT,
            idle_timeout: ADMIN_IDLE_TIMEOUT,
            ..Self::operators()
        }
    }

    /// The limits of a listener for a few operators and their programs, with no delay when it stops.
    #[must_use]
    pub fn operators() -> Self {
        Self {
            connections_max: 128,
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
        Self {
            connections_max: settings.connections_max,
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            rest_after: REST_AFTER,
            write_timeout: settings.body_timeout,
            header_bytes_max: HEADER_BYTES_MAX,
            streams_max: STREAMS_MAX,
            drain_delay: settings.drain_delay,
            drain_timeout: settings.drain_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_listener_waits_for_a_first_request_no_longer_than_for_the_next() {
        let limits = Limits::admin();
        assert_eq!(limits.header_timeout, limits.idle_timeout);
    }
}
