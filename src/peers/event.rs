//! What the driver hears of.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, WatcherId};
use tidegate_model::RegionId;
use tidegate_traffic::health::Outcome;

use super::order::{DrainError, DrainOrder, DrainWay};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Duration;

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was lost, or could not be opened.
    Lost,
    /// It was lost before the peer had said anything over it, after TLS was done on this side: as it is when
    /// the peer refuses this gateway's certificate.
    Unanswered,
    /// One of its sides wanted it to end: by a GOAWAY, for example.
    InOrder,
}

/// What the driver hears of, from connections, the listener and operators.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection stands, and the peer has said something over it.
    Opened(ConnectionId, SendRequest<Body>),
    /// A connection has ended or could not be opened.
    Closed(ConnectionId, Ending),
    /// The peer's certificate counts no more on an open connection.
    Unverified(ConnectionId),
    /// This gateway's certificate was renewed.
    Renewed,
    /// A message of a `Watch`.
    Received(ConnectionId, Bytes),
    /// A ping was answered.
    Pong(ConnectionId),
    /// A probe has ended, of a path or of the health.
    Probed(ConnectionId, Option<Arc<str>>, (Outcome, Duration)),
    /// A probe of this gateway itself has ended.
    ProbedOwn(Outcome, Duration),
    /// A peer asks to watch.
    Watch {
        /// The region in its certificate.
        region: RegionId,
        /// Where its updates go.
        updates: mpsc::Sender<Bytes>,
        /// Gets its number.
        admitted: oneshot::Sender<Option<WatcherId>>,
    },
    /// A `Watch` of a peer has ended.
    Unwatch(WatcherId),
    /// A peer wants this region to be drained.
    Drain {
        /// The region in its certificate.
        by: RegionId,
        /// For how long; none ends the drain.
        time: Duration,
        /// Even if no other region would be well.
        force: bool,
        /// Gets whether it may.
        done: oneshot::Sender<Result<(), DrainError>>,
    },
    /// An operator wants a region to be drained.
    Operate {
        /// Which, and for how long.
        order: DrainOrder,
        /// Gets how it is carried out.
        done: oneshot::Sender<Result<DrainWay, DrainError>>,
    },
    /// The names of a region's gateways were resolved.
    Resolved(RegionId, Vec<std::net::SocketAddr>),
}
