//! One stored answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Duration, Instant};

use super::{Usable, entity_tag, ttl_in_header};
use crate::http::CompressedForms;
use tidegate_policy::Lifetime;

/// One answer, with everything that is needed to serve it again.
///
/// `O` is where it came from, which the cache does not interpret.
#[derive(Debug)]
pub struct Entry<O> {
    /// The body, in its own memory.
    pub body: Bytes,
    /// The strong tag of the body.
    pub tag: HeaderValue,
    /// Where it came from.
    pub origin: O,
    /// Bytes that the origin occupies for this answer alone, and those for its compressed forms.
    pub origin_bytes: usize,
    /// The body in other codings.
    pub forms: Arc<CompressedForms>,
    /// The lifetime that its policy row declares.
    lifetime: Lifetime,
    /// Taken before the request to the node was sent, so that the round trip counts as age.
    asked_at: Instant,
    /// The proven bound on the node's staleness when it answered; `None` if nothing is proven.
    staleness: Option<Duration>,
    /// When obtaining a newer answer last failed.
    failed_at: Mutex<Option<Instant>>,
}

impl<O> Entry<O> {
    /// Makes an entry of a body. The bytes are copied: those of a row are part of their
    /// connection's buffer, all of which the entry would keep alive.
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
            forms: Arc::default(),
            lifetime,
            asked_at,
            staleness,
            failed_at: Mutex::new(None),
        }
    }

    /// Returns the greatest possible age of the data; `None` if nothing is proven.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let kept = now.saturating_duration_since(self.asked_at);
        Some(self.staleness?.saturating_add(kept))
    }

    /// Returns how the answer may be used. One of unknown age cannot be used.
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

    /// Returns the age of the data if the answer is fresh.
    pub fn fresh_age(&self, now: Instant) -> Option<Duration> {
        self.age(now).filter(|age| *age < self.lifetime.fresh)
    }

    /// Returns the remaining whole seconds of freshness, negative once the answer is stale.
    pub fn ttl(&self, now: Instant) -> i64 {
        self.age(now)
            .map_or(i64::MIN, |age| ttl_in_header(&self.lifetime, age))
    }

    /// Records that a newer answer could not be obtained.
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
