//! One tunnel, and the requests under way on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, TUNNELS_MAX};

use crate::http::ConnectionWindows;

/// Streams of one tunnel: as many as the other side allows, less some for pings.
const STREAMS_MAX: usize = 990;

/// With more streams a tunnel gets new requests only if no other has room.
const STREAMS_USUAL_MAX: usize = 750;

/// The window of a connection, in bytes; with more than half of it taken, a tunnel gets new requests only if
/// no other has room.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// An open connection to a gateway.
pub(super) struct Tunnel {
    pub(super) connection: ConnectionId,
    sender: SendRequest<Body>,
    windows: ConnectionWindows,
    streams: AtomicUsize,
}

/// A request's place on a tunnel, until the last byte of its answer.
pub(super) struct Seat(pub(super) Arc<Tunnel>);

impl Tunnel {
    pub(super) fn new(
        connection: ConnectionId,
        sender: SendRequest<Body>,
        windows: ConnectionWindows,
    ) -> Self {
        Self {
            connection,
            sender,
            windows,
            streams: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn sender(&self) -> SendRequest<Body> {
        self.sender.clone()
    }

    /// Whether it gets new requests only if no other tunnel has room.
    pub(super) fn is_crowded(&self) -> bool {
        self.streams() >= STREAMS_USUAL_MAX || self.windows.are_half_taken(CONNECTION_WINDOW)
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

impl Seat {
    /// Takes a place on the tunnel that has most room and was not `tried`; none if all are full.
    pub(super) fn take(tunnels: &[Arc<Tunnel>], tried: &[ConnectionId]) -> Option<Self> {
        let open = tunnels.iter().filter(|it| it.is_open());
        let untried = open.filter(|it| !tried.contains(&it.connection));
        let tunnel = untried.min_by_key(|it| (it.is_crowded(), it.streams()))?;
        // With so many tunnels that are all crowded a region is full.
        if tunnels.len() >= TUNNELS_MAX && tunnel.is_crowded() {
            return None;
        }
        let before = tunnel.streams.fetch_add(1, Ordering::Relaxed);
        // Counted until this is dropped.
        let seat = Self(Arc::clone(tunnel));
        (before < STREAMS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
