//! A borrowed connection.

use std::pin::Pin;
use std::time::Duration;

use deadpool::managed::Object;
use deadpool_postgres::ClientWrapper;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{ConnectionManager, NodeConnection};
use super::connection_limit::Slot;
use super::line::{Place, SILENCE_MAX};
use super::turnover::Held;
use tidegate_model::ServerIdentity;

/// How long answers that nobody waits for may keep a connection busy before it is closed, which also
/// ends the statement.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A connection lent to one request, or a place on one that several quick reads share.
///
/// Dropping it without [`Lease::settle`] closes the connection; one that is shared serves again once
/// the answers on the way have come.
pub struct Lease(Lent);

enum Lent {
    Alone(Box<Borrowed>),
    Shared(Place),
}

/// A connection out of the pool, and the slot that it takes.
pub(super) type Slotted = (Object<ConnectionManager>, Slot);

/// A connection out of the pool. Dropping it without [`Borrowed::settle`] closes it.
pub(super) struct Borrowed {
    object: Option<Object<ConnectionManager>>,
    round_trip: Duration,
    held: Held,
    slot: Slot,
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

    /// Forgets what was prepared before the catalogue changed.
    pub(super) fn follow_catalogue(&self) {
        self.connection().follow_catalogue();
    }

    /// Asks for a look at the node's catalogue: a statement behaved as if it had changed.
    pub fn doubt_catalogue(&self) {
        self.connection().catalogue.doubt();
    }

    /// Has everything that a future sends when it is first polled reach the server in one go, also
    /// where others use the connection: none of their statements comes between. Cancel-safe.
    pub async fn in_one_go<F: Future>(&self, future: Pin<&mut F>) -> F::Output {
        match &self.0 {
            Lent::Alone(_) => future.await,
            Lent::Shared(place) => place.connection().in_one_go(future).await,
        }
    }

    /// The life of the server that answers on this connection.
    #[must_use]
    pub fn life(&self) -> ServerIdentity {
        self.connection().life
    }

    /// Ends when a read of somebody else keeps the answer back. Cancel-safe.
    pub async fn held_up(&self) {
        let Lent::Shared(place) = &self.0 else {
            return std::future::pending().await;
        };
        while !place.is_held_up(Instant::now()) {
            sleep(SILENCE_MAX).await;
        }
    }

    /// Gives the connection back: every answer to this request has been read. Returns how long the
    /// server took for it, without the way there and back.
    pub fn settle(self) -> Duration {
        match self.0 {
            Lent::Alone(borrowed) => borrowed.settle(),
            Lent::Shared(place) => place.answered(Instant::now()),
        }
    }

    /// Gives the connection back as soon as the answers on the way have come, or closes it when that
    /// takes too long.
    pub fn settle_later(self) {
        match self.0 {
            Lent::Alone(borrowed) => borrowed.settle_later(),
            // The last to leave sees to it.
            Lent::Shared(place) => drop(place),
        }
    }

    /// Has the connection closed when every request has left it: it leads to the wrong server, or
    /// its session cannot be cleaned.
    pub fn condemn(&self) {
        match &self.0 {
            // As any that is not settled.
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

impl Borrowed {
    pub(super) fn new((object, slot): Slotted, held: Held, round_trip: Duration) -> Self {
        Self {
            object: Some(object),
            round_trip,
            held,
            slot,
        }
    }

    /// Lets several reads use it.
    pub(super) fn share(&mut self) {
        self.held.share();
    }

    pub(super) fn connection(&self) -> &NodeConnection {
        self.object
            .as_ref()
            .expect("it holds its connection until it is settled or dropped")
    }

    /// Whether it was opened for this loan.
    pub(super) fn is_new(&self) -> bool {
        let metrics = self.object.as_ref().map(Object::metrics);
        metrics.is_some_and(|metrics| metrics.recycle_count == 0)
    }

    pub(super) fn settle(mut self) -> Duration {
        if !self.slot.is_surplus() {
            drop(self.object.take());
        }
        let held = self.held.since().elapsed();
        held.saturating_sub(self.round_trip)
    }

    pub(super) fn settle_later(self) {
        tokio::spawn(async move {
            // The server answers in order.
            let drained = self.connection().client.simple_query("");
            if let Ok(Ok(_)) = timeout(LATE_MAX, drained).await {
                self.settle();
            }
        });
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
