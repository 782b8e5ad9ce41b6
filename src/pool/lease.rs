//! A borrowed connection.

use deadpool::managed::Object;
use deadpool_postgres::ClientWrapper;

use super::connection::{ConnectionManager, NodeConnection};
use crate::postgres::ServerIdentity;

/// A connection lent to one request. Dropping it without [`Lease::settle`] closes the connection.
pub struct Lease(Option<Object<ConnectionManager>>);

impl Lease {
    pub(super) fn new(object: Object<ConnectionManager>) -> Self {
        Self(Some(object))
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
        drop(self.0.take());
    }

    fn connection(&self) -> &NodeConnection {
        self.0
            .as_ref()
            .expect("a lease holds its connection until it is settled or dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
