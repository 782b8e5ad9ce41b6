//! Reservations of bytes that are on their way, which are renewed until they have arrived.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{Either, select};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::index::Index;

/// The copies whose reservations are renewed.
#[derive(Default)]
pub(super) struct Leases(Mutex<Vec<String>>);

impl Leases {
    pub(super) fn add(&self, copy: &str) {
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        copies.push(copy.to_owned());
    }

    pub(super) fn remove(&self, copy: &str) {
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        copies.retain(|it| it != copy);
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Renews them until the work is done, which goes on meanwhile.
    pub(super) async fn hold<T>(&self, index: &Index, work: impl Future<Output = T>) -> T {
        match select(pin!(work), pin!(self.renew_forever(index))).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn renew_forever(&self, index: &Index) -> Infallible {
        let third = index.lease / 3;
        let mut renewal = interval_at(Instant::now() + third, third);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            renewal.tick().await;
            if let Err(error) = index.renew(&self.all()).await {
                tracing::warn!(%error, "reservations could not be renewed");
            }
        }
    }
}
