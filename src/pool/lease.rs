//! A borrowed connection.

use deadpool::managed::Object;
use deadpool_postgres::ClientWrapper;

use super::connection::{ConnectionManager, NodeConnection};
use super::turnover::Held;
use crate::postgres::ServerIdentity;

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
