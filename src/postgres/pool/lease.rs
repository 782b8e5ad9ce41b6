//! A borrowed connection.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Row, Statement};

use super::borrowed::Borrowed;
use super::connection::NodeConnection;
use super::line::{Place, SILENCE_MAX};
use tidegate_model::ServerIdentity;

/// A connection lent to one request, or a place on one shared by several quick reads.
///
/// Dropping it without [`Lease::settle`] closes the connection; a shared one serves again once the
/// outstanding answers have arrived.
pub struct Lease(Lent);

enum Lent {
    Alone(Box<Borrowed>),
    Shared(Place),
}

impl Lease {
    pub(super) fn alone(borrowed: Box<Borrowed>) -> Self {
        Self(Lent::Alone(borrowed))
    }

    pub(super) fn shared(place: Place) -> Self {
        Self(Lent::Shared(place))
    }

    /// The client; its statement cache is warm.
    #[must_use]
    pub fn client(&self) -> &ClientWrapper {
        &self.connection().client
    }

    /// Drops the statements that were prepared before the catalogue changed.
    pub(super) fn follow_catalogue(&self) {
        self.connection().follow_catalogue();
    }

    /// Requests a check of the node's catalogue, because a statement behaved as if it had changed.
    pub fn doubt_catalogue(&self) {
        self.connection().catalogue.doubt();
    }

    /// Makes everything that a future sends when it is first polled reach the server together, even
    /// on a shared connection: no statements of other requests come in between. Cancel-safe.
    pub async fn in_one_go<F: Future>(&self, future: Pin<&mut F>) -> F::Output {
        match &self.0 {
            Lent::Alone(_) => future.await,
            Lent::Shared(place) => place.connection().in_one_go(future).await,
        }
    }

    /// Asks a question that the server answers after all that was sent on this lease, once for all reads that ask it
    /// at about the same time; it must be the same for all. None if it fails, or if the connection is not shared, where
    /// it can be sent with the rest. Cancel-safe.
    pub async fn ask_together(&self, question: &Statement) -> Option<Arc<Row>> {
        match &self.0 {
            Lent::Alone(_) => None,
            Lent::Shared(place) => place.ask_together(question).await,
        }
    }

    /// Whether other reads may be on the connection.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Lent::Shared(_))
    }

    /// The life of the server that answers on this connection.
    #[must_use]
    pub fn life(&self) -> ServerIdentity {
        self.connection().life
    }

    /// Completes when another request's read delays the answer. Cancel-safe.
    pub async fn held_up(&self) {
        let Lent::Shared(place) = &self.0 else {
            return std::future::pending().await;
        };
        while !place.is_held_up(Instant::now()) {
            sleep(SILENCE_MAX).await;
        }
    }

    /// Returns the connection to the pool: every answer to this request has been read. Returns how
    /// long the server took, without the round trip.
    pub fn settle(self) -> Duration {
        match self.0 {
            Lent::Alone(borrowed) => borrowed.settle(),
            Lent::Shared(place) => place.answered(Instant::now()),
        }
    }

    /// Returns the connection to the pool as soon as the outstanding answers have arrived, or
    /// closes it if that takes too long.
    pub fn settle_later(self) {
        match self.0 {
            Lent::Alone(borrowed) => borrowed.settle_later(),
            // The last read to leave does it.
            Lent::Shared(place) => drop(place),
        }
    }

    /// Closes the connection once every request has left it: it leads to the wrong server, or its
    /// session cannot be reset.
    pub fn condemn(&self) {
        match &self.0 {
            // Closed like any lease that is not settled.
            Lent::Alone(_) => {}
            Lent::Shared(place) => place.condemn(),
        }
    }

    fn connection(&self) -> &NodeConnection {
        match &self.0 {
            Lent::Alone(borrowed) => borrowed.connection(),
            Lent::Shared(place) => place.connection(),
        }
    }
}
