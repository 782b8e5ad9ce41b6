//! One stored answer.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Duration, Instant};

use super::{Usable, entity_tag, ttl_in_header};
use tidegate_policy::Lifetime;

/// One answer, with all that is needed to serve it again.
///
/// `O` says where it came from, which is no concern of the cache.
#[derive(Debug)]
pub struct Entry<O> {
    /// The bytes, in memory of their own.
    pub body: Bytes,
    /// The strong tag of the body.
    pub tag: HeaderValue,
    /// Where it came from.
    pub origin: O,
    /// Bytes that the origin keeps for this answer alone.
    pub origin_bytes: usize,
    /// What its policy row declares.
    lifetime: Lifetime,
    /// Before the node was asked, so that the way there and back counts as age.
    asked_at: Instant,
    /// How stale the node can have been when it answered; none when nothing is proven.
    staleness: Option<Duration>,
    /// When a newer answer could last not be had.
    failed_at: Mutex<Option<Instant>>,
}

impl<O> Entry<O> {
    /// Makes an entry of a body. The bytes are copied: those of a row lie in the buffer of their
    /// connection, which an entry would keep alive as a whole.
    pub fn new(
        body: &[u8],
        origin: O,
        lifetime: Lifetime,
        asked_at: Instant,
        staleness: Option<Duration>,
    ) -> Self {
        Self {
            body: Bytes::copy_from_slice(body),
            tag: entity_tag(body),
            origin,
            origin_bytes: 0,
            lifetime,
            asked_at,
            staleness,
            failed_at: Mutex::new(None),
        }
    }

    /// Returns how old the data can be; none when nothing is proven.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        Some(self.staleness? + now.saturating_duration_since(self.asked_at))
    }

    /// Returns what the answer is good for. One of unknown age is good for nothing.
    pub fn usable(&self, now: Instant) -> Usable {
        let Some(age) = self.age(now) else {
            return Usable::No;
        };
        let failed_at = *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let failed_ago = failed_at.map(|at| now.saturating_duration_since(at));
        Usable::at(&self.lifetime, age, failed_ago)
    }

    /// Returns how old the data can be while that makes it fresh.
    pub fn fresh_age(&self, now: Instant) -> Option<Duration> {
        self.age(now).filter(|age| *age < self.lifetime.fresh)
    }

    /// Returns the whole seconds of freshness left, below zero once it is over.
    pub fn ttl(&self, now: Instant) -> i64 {
        self.age(now)
            .map_or(i64::MIN, |age| ttl_in_header(&self.lifetime, age))
    }

    /// Notes that a newer answer could not be had.
    pub fn note_failure(&self, now: Instant) {
        *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn entry(staleness: Option<Duration>, asked_at: Instant) -> Entry<()> {
        let lifetime = Lifetime {
            fresh: 10 * SECOND,
            while_revalidate: Duration::ZERO,
            if_error: 10 * SECOND,
        };
        Entry::new(b"[]", (), lifetime, asked_at, staleness)
    }

    #[test]
    fn the_age_is_the_nodes_staleness_and_all_time_since_it_was_asked() {
        let now = Instant::now();
        let entry = entry(Some(4 * SECOND), now);
        assert_eq!(entry.age(now + 3 * SECOND), Some(7 * SECOND));
        assert_eq!(entry.ttl(now + 3 * SECOND), 3);
        assert_eq!(entry.usable(now + 5 * SECOND), Usable::Fresh);
        assert_eq!(entry.usable(now + 6 * SECOND), Usable::IfError);
    }

    #[test]
    fn an_answer_of_unknown_age_is_good_for_nothing() {
        let now = Instant::now();
        let unknown = entry(None, now);
        assert_eq!((unknown.age(now), unknown.usable(now)), (None, Usable::No));
    }

    #[test]
    fn a_failure_counts_for_the_entry_it_was_noted_at() {
        let now = Instant::now();
        let entry = entry(Some(10 * SECOND), now);
        entry.note_failure(now);
        assert_eq!(entry.usable(now), Usable::AfterError { refresh: false });
    }
}
