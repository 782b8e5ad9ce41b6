//! The state kept for clients: bounded, and kept only as long as it matters.
//!
//! There are two generations of clients. A client that sends a request is in the newer one; when
//! that has lasted as long as it takes to restore a spent burst, or is full, it becomes the older
//! one and the former older one is dropped. Dropping by age loses nothing: a client that has been
//! silent for that long has its full budget again. When there is no room, the clients that have
//! been silent longest are dropped; each starts again with a full budget. So a flood from more
//! addresses than there is room for gets past the limit, as it would anyway with a budget for each
//! address, but does not tighten the limits of other clients or use more memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use tokio::time::Instant;

/// The states of a keyed rate limiter.
pub(super) struct Generations<K>(Mutex<Inner<K>>);

struct Inner<K> {
    newer: HashMap<K, Nanos>,
    older: HashMap<K, Nanos>,
    newer_since: Instant,
    /// Shortest lifetime of a generation; an unused state does not matter after that time.
    lifetime: Duration,
    /// Most keys in one generation.
    keys_max: usize,
}

impl<K: Hash + Eq + Copy> Generations<K> {
    /// Makes room for `keys_max` keys, whose states no longer matter `lifetime` after their last
    /// use.
    pub(super) fn new(keys_max: usize, lifetime: Duration) -> Self {
        Self(Mutex::new(Inner {
            newer: HashMap::new(),
            older: HashMap::new(),
            newer_since: Instant::now(),
            lifetime,
            keys_max: keys_max / 2,
        }))
    }
}

impl<K: Hash + Eq + Copy> StateStore for Generations<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // The states are consistent at every moment, even after a panic.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.make_room(key, Instant::now());
        let known = inner.newer.get(key).or_else(|| inner.older.get(key));
        let known = known.copied();
        let decided = decide(known);
        let next = match &decided {
            Ok((_, next)) => Some(*next),
            // A refused client is still remembered.
            Err(_) => known,
        };
        if let Some(next) = next {
            inner.newer.insert(*key, next);
        }
        decided.map(|(outcome, _)| outcome)
    }
}

impl<K: Hash + Eq> Inner<K> {
    fn make_room(&mut self, key: &K, now: Instant) {
        let full = self.newer.len() >= self.keys_max && !self.newer.contains_key(key);
        let over = now.duration_since(self.newer_since) >= self.lifetime;
        if full || over {
            self.older = std::mem::take(&mut self.newer);
            self.newer_since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    /// Uses a key; returns when it was used last, as far as that is known.
    fn touch(states: &Generations<u32>, key: u32, at: u64) -> Option<u64> {
        let known = states.measure_and_replace(&key, |known| Ok::<_, ()>((known, at.into())));
        known.unwrap().map(Nanos::as_u64)
    }

    fn refuse(states: &Generations<u32>, key: u32) {
        let refused = states.measure_and_replace(&key, |_| Err::<((), Nanos), _>(()));
        assert_eq!(refused, Err(()));
    }

    /// The number of entries in memory.
    fn len(states: &Generations<u32>) -> usize {
        let inner = states.0.lock().unwrap();
        inner.newer.len() + inner.older.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_known_for_its_lifetime_and_gone_after_two() {
        let states = Generations::new(100, LIFETIME);
        assert_eq!(touch(&states, 1, 7), None);
        advance(LIFETIME).await;
        assert_eq!(touch(&states, 2, 7), None);
        assert_eq!(touch(&states, 1, 8), Some(7));
        assert_eq!(touch(&states, 1, 9), Some(8));
        advance(LIFETIME).await;
        touch(&states, 3, 7);
        advance(LIFETIME).await;
        touch(&states, 4, 7);
        assert_eq!(len(&states), 2, "3 and 4");
        assert_eq!(touch(&states, 1, 7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_of_keys_takes_more_room_than_there_is() {
        let states = Generations::new(100, LIFETIME);
        for key in 0..10_000 {
            assert_eq!(touch(&states, key, 7), None);
            assert!(len(&states) <= 100);
        }
        assert_eq!(
            touch(&states, 9_950, 8),
            Some(7),
            "the last fifty are known"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_refused_stays_known() {
        let states = Generations::new(100, LIFETIME);
        touch(&states, 1, 7);
        for key in 100..1_000 {
            touch(&states, key, 7);
            refuse(&states, 1);
        }
        assert_eq!(touch(&states, 1, 8), Some(7));
        refuse(&states, 2);
        assert_eq!(touch(&states, 2, 7), None, "there was nothing to remember");
    }
}
