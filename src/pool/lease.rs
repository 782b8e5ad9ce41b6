//! A borrowed connection.

use std::time::Duration;

use deadpool::managed::Object;
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;

use super::connection::{ConnectionManager, NodeConnection};
use super::turnover::Held;
use crate::postgres::ServerIdentity;

/// How long answers that nobody waits for may keep a connection busy before it is closed, which also
/// ends the statement.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A connection lent to one request. Dropping it without [`Lease::settle`] closes the connection.
pub struct Lease {
    object: Option<Object<ConnectionManager>>,
    _held: Held,
}

impl Lease {
    pub(super) fn new(object: Object<ConnectionManager>, held: Held) -> Self {
        Self {
            object: Some(object),
            _held: held,
        }
    }

    /// The client; its statement cache is warm.
    #[must_use]
    pub fn client(&self) -> &ClientWrapper {
        &self.connection().client
    }

    /// The life of the server that answers on this connection.
    #[must_use]
    pub fn life(&self) -> ServerIdentity {
        self.connection().life
    }

    /// Gives the connection back: every answer on it has been read.
    pub fn settle(mut self) {
        drop(self.object.take());
    }

    /// Gives the connection back as soon as the answers on the way have come, or closes it when that
    /// takes too long.
    pub fn settle_later(self) {
        tokio::spawn(async move {
            // The server answers in order.
            let drained = self.client().simple_query("");
            if let Ok(Ok(_)) = timeout(LATE_MAX, drained).await {
                self.settle();
            }
        });
    }

    fn connection(&self) -> &NodeConnection {
        self.object
            .as_ref()
            .expect("a lease holds its connection until it is settled or dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
