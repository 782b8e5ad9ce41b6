//! Copies that this gateway has found damaged or missing, from that moment on. Their marks in the index are
//! written later, and reach replicas later still.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a copy is passed over: the mark in the index has arrived by then. Longer, and a copy that another
/// gateway has repaired is not read for no reason.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Copies that are remembered: a bucket that has lost everything must not fill the memory.
const COPIES_MAX: usize = 10_000;

/// When each was found, by its id.
#[derive(Debug, Default)]
pub(super) struct Distrusted(Mutex<HashMap<String, Instant>>);

impl Distrusted {
    /// Remembers a copy.
    pub(super) fn add(&self, copy: &str, now: Instant) {
        let mut found = self.found();
        if found.len() >= COPIES_MAX {
            found.retain(|_, since| now.duration_since(*since) < REMEMBERED);
        }
        if found.len() < COPIES_MAX {
            found.insert(copy.to_owned(), now);
        }
    }

    /// Forgets a copy, which is good again.
    pub(super) fn remove(&self, copy: &str) {
        self.found().remove(copy);
    }

    /// Whether a copy is to be passed over.
    pub(super) fn has(&self, copy: &str, now: Instant) -> bool {
        let found = self.found();
        let since = found.get(copy);
        since.is_some_and(|since| now.duration_since(*since) < REMEMBERED)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_passed_over_until_it_is_repaired_or_its_mark_has_arrived() {
        let (all, now) = (Distrusted::default(), Instant::now());
        all.add("one", now);
        all.add("two", now);
        assert!(all.has("one", now) && !all.has("three", now));
        all.remove("one");
        assert!(!all.has("one", now) && all.has("two", now));
        assert!(!all.has("two", now + REMEMBERED));
    }

    #[test]
    fn the_memory_for_them_is_bounded() {
        let (all, now) = (Distrusted::default(), Instant::now());
        for index in 0..COPIES_MAX + 10 {
            all.add(&index.to_string(), now);
        }
        assert_eq!(all.found().len(), COPIES_MAX);
        // Those that are forgotten make room.
        all.add("later", now + REMEMBERED);
        assert_eq!(all.found().len(), 1);
    }
}
