//! A fetched key set, kept fresh.
//!
//! Nothing runs without requests: the age of the set is checked when a token needs a key. At most
//! one fetch is under way at any time, in its own task, so that it survives a client that
//! disconnects, and all requests that need its outcome wait for the same one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Duration, Instant};

use super::AuthError;
use super::key::{Algorithm, Key};
use super::key_set::KeySet;
use super::source::Source;

/// When to fetch.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Age at which the set is fetched again, while the old one is still used. Bounds how long a
    /// key withdrawn by its issuer is accepted.
    pub(super) refresh_after: Duration,
    /// Age at which a request waits for the fetch: after a quiet time the old set is not trusted
    /// unchecked. It remains in use if the fetch fails.
    pub(super) stale_after: Duration,
    /// Shortest time from a fetch for an unknown key to the next. Tokens with invented key ids
    /// cause at most one fetch in this time; a new key is known this long after it is published.
    pub(super) unknown_interval: Duration,
    /// Shortest time from any other fetch, or one that failed, to the next.
    pub(super) retry_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh_after: Duration::from_secs(600),
            stale_after: Duration::from_secs(3600),
            unknown_interval: Duration::from_secs(30),
            retry_after: Duration::from_secs(2),
        }
    }
}

/// A key set at a URL.
#[derive(Debug)]
pub(super) struct Jwks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    pace: Pace,
    current: ArcSwapOption<Snapshot>,
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Snapshot {
    keys: KeySet,
    fetched: Instant,
}

#[derive(Debug)]
struct Schedule {
    running: Option<Fetch>,
    not_before: Instant,
}

/// Completes when a fetch has ended, successfully or not.
type Fetch = Shared<BoxFuture<'static, ()>>;

impl Jwks {
    pub(super) fn new(source: Source, pace: Pace) -> Self {
        let schedule = Schedule {
            running: None,
            not_before: Instant::now(),
        };
        Self(Arc::new(Inner {
            source,
            pace,
            current: ArcSwapOption::empty(),
            schedule: Mutex::new(schedule),
        }))
    }

    /// Finds a key, and fetches the set if it is old or lacks the key. Cancel-safe.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, AuthError> {
        if algorithm == Algorithm::Hs256 {
            return Err(AuthError::Algorithm);
        }
        self.freshen().await;
        let snapshot = self
            .0
            .current
            .load_full()
            .ok_or(AuthError::KeysUnavailable)?;
        match snapshot.keys.find(kid, algorithm) {
            Err(AuthError::UnknownKey) => {}
            found => return found,
        }
        let Some(fetch) = self.0.start(self.0.pace.unknown_interval) else {
            return Err(AuthError::UnknownKey);
        };
        fetch.await;
        let snapshot = self
            .0
            .current
            .load_full()
            .ok_or(AuthError::KeysUnavailable)?;
        snapshot.keys.find(kid, algorithm)
    }

    /// Starts a fetch if the set is old; waits for it if the set is stale or missing.
    pub(super) async fn freshen(&self) {
        let age = self
            .0
            .current
            .load()
            .as_ref()
            .map(|snapshot| snapshot.fetched.elapsed());
        if age.is_some_and(|age| age < self.0.pace.refresh_after) {
            return;
        }
        let fetch = self.0.start(self.0.pace.retry_after);
        if age.is_some_and(|age| age < self.0.pace.stale_after) {
            return;
        }
        if let Some(fetch) = fetch {
            fetch.await;
        }
    }
}

impl Inner {
    /// Joins the fetch under way, or starts one unless it is too early; if it succeeds, the next
    /// one does not start before `pause` has passed.
    fn start(self: &Arc<Self>, pause: Duration) -> Option<Fetch> {
        let mut schedule = self.schedule();
        if let Some(running) = schedule
            .running
            .as_ref()
            .filter(|fetch| fetch.peek().is_none())
        {
            return Some(running.clone());
        }
        let now = Instant::now();
        if now < schedule.not_before {
            return None;
        }
        schedule.not_before = now + self.pace.retry_after;
        let task = tokio::spawn(Arc::clone(self).fetch(pause));
        let fetch = async move {
            if let Err(error) = task.await {
                tracing::error!(%error, "the task that fetches the key set has died");
            }
        };
        Some(schedule.running.insert(fetch.boxed().shared()).clone())
    }

    async fn fetch(self: Arc<Self>, pause: Duration) {
        let outcome = self.source.fetch().await;
        let now = Instant::now();
        let mut schedule = self.schedule();
        match outcome {
            Ok(keys) => {
                self.current
                    .store(Some(Arc::new(Snapshot { keys, fetched: now })));
                schedule.not_before = now + pause;
            }
            Err(error) => {
                schedule.not_before = now + self.pace.retry_after;
                drop(schedule);
                let url = self.source.url();
                let serving_old_keys = self.current.load().is_some();
                tracing::warn!(%url, %error, serving_old_keys, "the key set cannot be fetched");
            }
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // Every update is one plain assignment: a panic cannot leave it half done.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
