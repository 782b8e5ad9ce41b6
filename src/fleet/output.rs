//! What the fleet asks of its driver.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_model::RegionId;

use crate::link::{ConnectionId, Purpose};

/// A `Watch` that a peer has opened here; the driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// Something that a driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection, and say so by [`crate::Fleet::opened`] or [`crate::Fleet::closed`]. On a
    /// control connection the driver then begins a `Watch`.
    Dial {
        /// What it is called from now on.
        connection: ConnectionId,
        /// Whose certificate the peer must have.
        region: RegionId,
        /// Where it leads.
        address: SocketAddr,
        /// What it is for.
        purpose: Purpose,
    },
    /// Close a connection at once; the fleet has forgotten it. What is open on it is lost.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Give a connection no new request, close it when it is idle, and say so by
    /// [`crate::Fleet::closed`].
    Retire {
        /// Which.
        connection: ConnectionId,
    },
    /// Send a ping; its answer is [`crate::Fleet::pong`].
    Ping {
        /// Over which connection.
        connection: ConnectionId,
    },
    /// Send an `Update`. A watcher whose queue is full is to be closed: it would miss a change.
    Update {
        /// Which watcher.
        watcher: WatcherId,
        /// The message, encoded.
        update: Vec<u8>,
    },
    /// Send a probe and tell what came of it by [`crate::Fleet::probed`].
    Probe {
        /// Over which connection.
        connection: ConnectionId,
        /// What to GET; `/health/edge` where it is `None`.
        path: Option<Arc<str>>,
    },
    /// Ask this gateway itself for `/health/edge`, and tell what came of it by
    /// [`crate::Fleet::probed_own`].
    ProbeOwn,
}
