//! The handshakes that are not finished yet, of which there are only so many.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Handshakes at the same time. An honest one takes two round trips: this many are enough for some
/// thousand new clients a second, and take some ten MiB when none of them ever finishes.
const HANDSHAKES_MAX: usize = 1024;

/// The handshakes of one listener. One more than there is room for ends the oldest: clients that
/// never finish make room for those that do.
#[derive(Debug, Default)]
pub struct Handshakes(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// By age. Dropping a sender ends the handshake.
    open: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One handshake; it counts until this is dropped.
pub struct Handshake<'a> {
    all: &'a Handshakes,
    id: u64,
    displaced: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Counts one more handshake.
    pub fn begin(&self) -> Handshake<'_> {
        let (keep, displaced) = oneshot::channel();
        let mut pending = self.pending();
        if pending.open.len() >= HANDSHAKES_MAX {
            pending.open.pop_first();
        }
        let id = pending.next;
        pending.next += 1;
        pending.open.insert(id, keep);
        Handshake {
            all: self,
            id,
            displaced,
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Every change is a single insertion or removal: a panic cannot leave one half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake<'_> {
    /// Waits until a newer handshake has taken the place of this one. Cancel-safe.
    pub async fn displaced(&mut self) {
        // Nothing is ever sent.
        let _dropped = (&mut self.displaced).await;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.all.pending().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_handshake_too_many_ends_the_oldest_and_no_other() {
        let all = Handshakes::default();
        let mut open: Vec<_> = (0..HANDSHAKES_MAX).map(|_| all.begin()).collect();
        assert!(open[0].displaced().now_or_never().is_none());
        let mut newest = all.begin();
        assert!(open[0].displaced().now_or_never().is_some());
        assert!(open[1].displaced().now_or_never().is_none());
        assert!(newest.displaced().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_finished_handshake_makes_room() {
        let all = Handshakes::default();
        let mut oldest = all.begin();
        for _ in 0..10 * HANDSHAKES_MAX {
            drop(all.begin());
        }
        assert!(oldest.displaced().now_or_never().is_none());
        assert_eq!(all.pending().open.len(), 1);
    }
}
