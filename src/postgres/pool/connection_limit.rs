//! How many connections a pool may have: what is configured, or less where the server takes no more.
//!
//! A role's or a database's `connection limit` and `max_connections` refuse a connection with SQLSTATE
//! 53300. Then those that are open serve, and requests wait for one of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Time until it is tried whether the server takes more: doubled each time that it does not. The first
/// is short since a connection that was closed counts until the server has noticed.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(16);

/// The slots of one pool; whoever holds one may use or open a connection.
pub(super) struct ConnectionLimit {
    configured: usize,
    slots: Arc<Semaphore>,
    users: AtomicUsize,
    open: AtomicUsize,
    /// The same as in the state, for requests to read.
    max: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    max: usize,
    /// Slots in use that are not given out again.
    owed: usize,
    refusal: Option<Refusal>,
    /// What was last warned of: the limit, and whether no connection was open.
    warned: Option<(usize, bool)>,
}

struct Refusal {
    reason: String,
    retry_at: Instant,
    patience: Duration,
}

/// A slot in use; dropping it frees it.
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    user: User,
}

/// Something that waits for a slot or has one.
struct User(Arc<ConnectionLimit>);

/// An open connection, counted until it is dropped.
pub(super) struct Open(Arc<ConnectionLimit>);

impl ConnectionLimit {
    pub(super) fn of(configured: usize) -> Self {
        Self {
            configured,
            slots: Arc::new(Semaphore::new(configured)),
            users: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(configured),
            state: Mutex::new(State {
                max: configured,
                owed: 0,
                refusal: None,
                warned: None,
            }),
        }
    }

    /// Waits for a slot, behind those that came earlier. Cancel-safe.
    pub(super) async fn slot(self: &Arc<Self>) -> Slot {
        self.users.fetch_add(1, Ordering::Relaxed);
        let user = User(Arc::clone(self));
        // The semaphore is never closed.
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok();
        Slot { permit, user }
    }

    /// The most connections that there may be.
    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Those that wait for a slot or have one.
    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Whether more connections are open than there may be.
    pub(super) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.max()
    }

    /// Whether the server takes no connection of this pool at all.
    pub(super) fn is_shut_out(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && self.state().refusal.is_some()
    }

    /// Counts a connection that was opened.
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut state = self.state();
        if open > state.max {
            self.set_max(&mut state, open);
        }
        Open(Arc::clone(self))
    }

    /// Takes in that the server has refused one more connection: there is room for those that are open.
    pub(super) fn refused(&self, reason: &str, now: Instant) {
        self.limit(self.open.load(Ordering::Relaxed), reason, now);
    }

    /// Gives one connection up, unless it is the only one.
    pub(super) fn give_one_up(&self, reason: &str, now: Instant) {
        let open = self.open.load(Ordering::Relaxed);
        self.limit(open.saturating_sub(1), reason, now);
    }

    fn limit(&self, max: usize, reason: &str, now: Instant) {
        let mut state = self.state();
        let max = max.max(1).min(state.max);
        self.set_max(&mut state, max);
        let before = state.refusal.take();
        let patience = before.map_or(RETRY_MIN, |before| match before.retry_at <= now {
            true => RETRY_MAX.min(before.patience * 2),
            false => before.patience,
        });
        state.refusal = Some(Refusal {
            reason: reason.to_owned(),
            retry_at: now + patience,
            patience,
        });
    }

    /// What to warn of, once for each limit that is met: the reason.
    pub(super) fn news(&self) -> Option<String> {
        let mut state = self.state();
        let reason = state.refusal.as_ref()?.reason.clone();
        let now = (state.max, self.open.load(Ordering::Relaxed) == 0);
        let is_news = state.warned != Some(now);
        state.warned = Some(now);
        is_news.then_some(reason)
    }

    /// Whether it is time to try if the server takes more connections, since all that it takes are open.
    pub(super) fn is_retry_due(&self, now: Instant) -> bool {
        let state = self.state();
        let refusal = state.refusal.as_ref();
        refusal.is_some_and(|refusal| refusal.retry_at <= now)
            && self.open.load(Ordering::Relaxed) >= state.max
    }

    /// Takes in that the server takes more connections again.
    pub(super) fn lift(&self) {
        let mut state = self.state();
        self.set_max(&mut state, self.configured);
        state.refusal = None;
    }

    fn set_max(&self, state: &mut State, max: usize) {
        match max.checked_sub(state.max) {
            Some(more) => {
                let kept = more.min(state.owed);
                state.owed -= kept;
                self.slots.add_permits(more - kept);
            }
            None => {
                let fewer = state.max - max;
                state.owed += fewer - self.slots.forget_permits(fewer);
            }
        }
        state.max = max;
        self.max.store(max, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts are whole at every moment, also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Whether there are more connections than there may be, so that this one is to be closed.
    pub(super) fn is_surplus(&self) -> bool {
        self.user.0.is_crowded()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.user.0.state();
        if let Some(permit) = self.permit.take()
            && state.owed > 0
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn limit_of(configured: usize) -> Arc<ConnectionLimit> {
        Arc::new(ConnectionLimit::of(configured))
    }

    /// A slot, if there is one at once.
    fn slot(limit: &Arc<ConnectionLimit>) -> Option<Slot> {
        limit.slot().now_or_never()
    }

    #[test]
    fn after_a_refusal_there_are_slots_for_those_that_are_open() {
        let limit = limit_of(4);
        let held = [slot(&limit), slot(&limit), slot(&limit)];
        let open = [limit.opened(), limit.opened()];
        limit.refused("too many", Instant::now());
        assert_eq!((limit.max(), limit.users()), (2, 3));
        // The third had a slot already and gives it back for good.
        drop(held);
        let held = [slot(&limit), slot(&limit)];
        assert!(held.iter().all(Option::is_some) && slot(&limit).is_none());
        drop((held, open));
        assert_eq!((limit.max(), limit.users()), (2, 0));
    }

    #[test]
    fn one_is_given_up_but_never_the_last_and_none_leaves_one_to_try() {
        let limit = limit_of(4);
        let open = [limit.opened(), limit.opened()];
        limit.give_one_up("too many", Instant::now());
        assert!(limit.max() == 1 && limit.is_crowded());
        limit.give_one_up("too many", Instant::now());
        assert!(limit.max() == 1 && !limit.is_shut_out());
        drop(open);
        assert!(limit.is_shut_out() && slot(&limit).is_some());
    }

    #[test]
    fn whatever_comes_and_goes_a_lifted_limit_is_the_configured_one() {
        let limit = limit_of(8);
        for round in 0..100 {
            let open: Vec<_> = (0..round % 9).map(|_| limit.opened()).collect();
            let held: Vec<_> = (0..round % 5).map(|_| slot(&limit)).collect();
            limit.refused("too many", Instant::now());
            drop(open);
            limit.give_one_up("too many", Instant::now());
            if round % 2 == 0 {
                limit.lift();
            }
            drop(held);
        }
        limit.lift();
        let all: Vec<_> = (0..8).map(|_| slot(&limit)).collect();
        assert!(all.iter().all(Option::is_some) && slot(&limit).is_none());
    }

    #[test]
    fn the_server_is_tried_less_and_less_often_and_a_limit_is_news_once() {
        let limit = limit_of(2);
        let open = limit.opened();
        let start = Instant::now();
        let mut now = start;
        limit.refused("too many", now);
        limit.refused("too many", now);
        assert_eq!(limit.news().as_deref(), Some("too many"));
        let mut tried = Vec::new();
        for _ in 0..60 {
            now += RETRY_MIN;
            if limit.is_retry_due(now) {
                tried.push((now - start).as_secs());
                limit.refused("too many", now);
            }
        }
        assert_eq!(tried, [1, 3, 7, 15, 31, 47]);
        assert_eq!(limit.news(), None);
        drop(open);
        assert!(
            limit.is_shut_out() && limit.news().is_some(),
            "none is left"
        );
        assert_eq!(limit.news(), None);
    }
}
