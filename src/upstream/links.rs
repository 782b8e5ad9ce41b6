//! The connections to one node that wait for the next request.
//!
//! No task drives them: the next request finds out whether the node has closed one, and until then a
//! sweep does, every second while there are any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::{Duration, Instant, sleep};

/// How long a connection is kept for the next request: less than the five seconds after which
/// Node.js, which has one of the shortest timeouts, closes it, so that few requests are sent on one
/// being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Idle connections kept to one node.
const IDLE_MAX: usize = 256;

/// How often those are closed that are of no use any more.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A connection that may wait for a request.
pub(super) trait Reusable: Send + 'static {
    /// Whether it can take one: the node has not closed it.
    fn is_open(&mut self) -> bool;
}

/// Connections that wait, those last that were used last.
#[derive(Debug)]
pub(super) struct Links<L>(Mutex<Waiting<L>>);

#[derive(Debug)]
struct Waiting<L> {
    links: Vec<(L, Instant)>,
    is_swept: bool,
}

impl<L> Default for Links<L> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            links: Vec::new(),
            is_swept: false,
        }))
    }
}

impl<L: Reusable> Links<L> {
    /// Takes the connection that was used last, unless that is too long ago.
    pub(super) fn take(&self) -> Option<L> {
        let (link, since) = self.waiting().links.pop()?;
        (since.elapsed() < KEEP_ALIVE).then_some(link)
    }

    /// Keeps a connection for the next request, unless enough are kept.
    pub(super) fn keep(self: &Arc<Self>, link: L) {
        let mut waiting = self.waiting();
        if waiting.links.len() >= IDLE_MAX {
            return;
        }
        waiting.links.push((link, Instant::now()));
        if !std::mem::replace(&mut waiting.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes the connections that were not used for too long or that the node has closed. Returns whether
    /// there are others.
    fn sweep(&self) -> bool {
        let mut closed = Vec::new();
        let mut waiting = self.waiting();
        let links = std::mem::take(&mut waiting.links);
        for (mut link, since) in links {
            match since.elapsed() < KEEP_ALIVE && link.is_open() {
                true => waiting.links.push((link, since)),
                false => closed.push(link),
            }
        }
        waiting.is_swept = !waiting.links.is_empty();
        let goes_on = waiting.is_swept;
        drop(waiting);
        // They are closed here, without the lock.
        drop(closed);
        goes_on
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<L>> {
        // At worst, a panic while the lock is held loses connections.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps until no connection waits.
async fn sweep<L: Reusable>(links: Weak<Links<L>>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(links) = links.upgrade() else { return };
        if !links.sweep() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::advance;

    use super::*;

    /// A connection that the node closes when the flag is set.
    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<AtomicBool>);

    impl Reusable for Fake {
        fn is_open(&mut self) -> bool {
            !self.0.load(Ordering::Relaxed)
        }
    }

    fn kept(links: &Links<Fake>) -> usize {
        links.waiting().links.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_for_four_seconds_and_the_last_used_is_taken_first() {
        let links = Arc::new(Links::default());
        let (one, other) = (Fake::default(), Fake::default());
        links.keep(one.clone());
        links.keep(other.clone());
        assert!(Arc::ptr_eq(&links.take().unwrap().0, &other.0));
        advance(KEEP_ALIVE - Duration::from_millis(1)).await;
        assert!(Arc::ptr_eq(&links.take().unwrap().0, &one.0));
        links.keep(one);
        advance(KEEP_ALIVE).await;
        assert!(links.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_of_no_use_is_closed_without_a_request() {
        let links = Arc::new(Links::default());
        let (closed, open) = (Fake::default(), Fake::default());
        links.keep(closed.clone());
        links.keep(open);
        closed.0.store(true, Ordering::Relaxed);
        sleep(SWEEP_INTERVAL + Duration::from_millis(1)).await;
        assert_eq!(kept(&links), 1);
        sleep(KEEP_ALIVE).await;
        assert_eq!(kept(&links), 0);
        links.keep(Fake::default());
        sleep(KEEP_ALIVE + SWEEP_INTERVAL).await;
        assert_eq!(kept(&links), 0, "sweeping begins again");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_enough_are_kept() {
        let links = Arc::new(Links::default());
        for _ in 0..2 * IDLE_MAX {
            links.keep(Fake::default());
        }
        assert_eq!(kept(&links), IDLE_MAX);
    }
}
