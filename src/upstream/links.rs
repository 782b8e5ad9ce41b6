//! The connections to one node that wait for the next request, or the requests that wait for one of them.
//!
//! No task drives them: the next request finds out whether the node has closed one, and until then a
//! sweep does, every second while there are any.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, sleep};

use tidegate_telemetry::survive;

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
    /// Where there are no connections, the requests that wait for one, in order.
    requests: VecDeque<oneshot::Sender<L>>,
    is_swept: bool,
}

/// The place of a request among those that wait for a connection.
#[derive(Debug)]
pub(super) struct Freed<L: Reusable> {
    link: oneshot::Receiver<L>,
    links: Arc<Links<L>>,
}

impl<L> Default for Links<L> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            links: Vec::new(),
            requests: VecDeque::new(),
            is_swept: false,
        }))
    }
}

impl<L: Reusable> Links<L> {
    /// Takes the connection that was used last, unless that is too long ago. Otherwise returns a place among the
    /// requests that wait for the next one.
    pub(super) fn take(self: &Arc<Self>) -> Result<L, Freed<L>> {
        let mut waiting = self.waiting();
        if let Some((link, since)) = waiting.links.pop()
            && since.elapsed() < KEEP_ALIVE
        {
            return Ok(link);
        }
        let (request, link) = oneshot::channel();
        waiting.requests.push_back(request);
        let links = Arc::clone(self);
        Err(Freed { link, links })
    }

    /// Gives a connection to the request that has waited longest, or keeps it for the next one, unless enough
    /// are kept.
    pub(super) fn keep(self: &Arc<Self>, mut link: L) {
        let mut waiting = self.waiting();
        while let Some(request) = waiting.requests.pop_front() {
            match request.send(link) {
                Ok(()) => return,
                Err(refused) => link = refused,
            }
        }
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

impl<L: Reusable> Freed<L> {
    /// Waits for a connection that another request no longer needs. Cancel-safe.
    pub(super) async fn link(&mut self) -> Option<L> {
        // None would mean that the request has left its place.
        (&mut self.link).await.ok()
    }
}

impl<L: Reusable> Drop for Freed<L> {
    fn drop(&mut self) {
        self.link.close();
        if let Ok(link) = self.link.try_recv() {
            self.links.keep(link);
        }
        let mut waiting = self.links.waiting();
        while waiting.requests.pop_front_if(|it| it.is_closed()).is_some() {}
    }
}

/// Sweeps until no connection waits.
async fn sweep<L: Reusable>(links: Weak<Links<L>>) {
    loop {
        sleep(SWEEP_INTERVAL).await;
        let Some(links) = links.upgrade() else { return };
        // Nothing would begin it again after a panic, which loses connections at worst.
        let goes_on = survive("upstream connections", async { links.sweep() }).await;
        if goes_on == Some(false) {
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

    /// A connection that must not be looked at.
    struct Dying;

    impl Reusable for Dying {
        fn is_open(&mut self) -> bool {
            panic!("it dies")
        }
    }

    fn kept<L: Reusable>(links: &Links<L>) -> usize {
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
        assert!(links.take().is_err());
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_request_that_has_waited_longest_and_still_waits() {
        let links = Arc::new(Links::default());
        let wait = || links.take().unwrap_err();
        let (gives_up, mut first, mut second) = (wait(), wait(), wait());
        drop(gives_up);
        let (one, other) = (Fake::default(), Fake::default());
        links.keep(one.clone());
        links.keep(other.clone());
        assert!(Arc::ptr_eq(&first.link().await.unwrap().0, &one.0));
        assert!(Arc::ptr_eq(&second.link().await.unwrap().0, &other.0));
        assert_eq!(kept(&links), 0);
    }

    #[tokio::test]
    async fn a_request_that_needs_no_connection_any_more_hands_it_on() {
        let links = Arc::new(Links::default());
        let (given, mut next) = (links.take().unwrap_err(), links.take().unwrap_err());
        links.keep(Fake::default());
        drop(given);
        assert!(next.link().await.is_some());
        drop((next, links.take()));
        assert_eq!(links.waiting().requests.len(), 0);
        links.keep(Fake::default());
        assert_eq!(kept(&links), 1);
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
    async fn a_sweep_that_panics_is_not_the_last_one() {
        let links = Arc::new(Links::default());
        links.keep(Dying);
        sleep(SWEEP_INTERVAL + Duration::from_millis(1)).await;
        links.keep(Dying);
        sleep(KEEP_ALIVE + SWEEP_INTERVAL).await;
        assert_eq!(kept(&links), 0);
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
