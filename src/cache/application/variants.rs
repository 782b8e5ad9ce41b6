//! The answers that are stored for one URL.

use std::sync::Arc;

use http::HeaderMap;

use super::StoredAnswer;

/// Most answers for one URL: an application that varies by a field with many values cannot fill the cache
/// with one of its pages, and no search takes long.
const VARIANTS_MAX: usize = 16;
/// Bytes of an answer besides those that it holds.
const OVERHEAD_BYTES: usize = 512;

/// The answers for one URL, newest first.
#[derive(Clone, Default)]
pub struct Variants(Vec<Arc<StoredAnswer>>);

impl Variants {
    /// The newest answer that is for a request.
    pub fn find(&self, request: &HeaderMap) -> Option<&Arc<StoredAnswer>> {
        self.0
            .iter()
            .find(|answer| answer.selection.matches(request))
    }

    /// Returns them with another answer, which takes the place of those that are for the same requests; of all
    /// if it does not vary.
    /// Beyond their number and `bytes_max`, the oldest are dropped.
    #[must_use]
    pub fn with(&self, answer: &Arc<StoredAnswer>, bytes_max: usize) -> Self {
        let mut room = bytes_max;
        let others = self
            .0
            .iter()
            .filter(|other| !answer.selection.is_any() && other.selection != answer.selection);
        let all = std::iter::once(answer).chain(others).take(VARIANTS_MAX);
        let fitting = all.take_while(|answer| {
            let left = room.checked_sub(answer.bytes() + OVERHEAD_BYTES);
            room = left.unwrap_or_default();
            left.is_some()
        });
        Self(fitting.cloned().collect())
    }

    /// Returns them without one of them.
    #[must_use]
    pub fn without(&self, gone: &Arc<StoredAnswer>) -> Self {
        let others = self.0.iter().filter(|answer| !Arc::ptr_eq(answer, gone));
        Self(others.cloned().collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that they occupy.
    pub fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|answer| answer.bytes() + OVERHEAD_BYTES)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::{Duration, Instant};

    use super::super::answer::testing;
    use super::*;

    const BODY: usize = 1_000;

    fn request(value: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x", value.into());
        headers
    }

    fn answer(value: usize, vary: &'static str) -> Arc<StoredAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert("vary", vary.parse().unwrap());
        let body = Bytes::from(vec![0; BODY]);
        Arc::new(testing::answer(&request(value), headers, body))
    }

    #[test]
    fn the_newest_answer_for_a_request_is_found() {
        let first = answer(1, "x");
        let all = Variants::default().with(&first, usize::MAX);
        let all = all.with(&answer(2, "x"), usize::MAX);
        assert!(Arc::ptr_eq(all.find(&request(1)).unwrap(), &first));
        assert!(all.find(&request(3)).is_none());
        let newer = answer(1, "x");
        let all = all.with(&newer, usize::MAX);
        assert!(Arc::ptr_eq(all.find(&request(1)).unwrap(), &newer));
        assert_eq!(all.0.len(), 2);
        assert!(all.without(&newer).find(&request(1)).is_none());
    }

    #[test]
    fn an_answer_that_does_not_vary_takes_the_place_of_all() {
        let all = Variants::default().with(&answer(1, "x"), usize::MAX);
        let all = all.with(&answer(2, "x"), usize::MAX);
        let newest = answer(3, "");
        let all = all.with(&newest, usize::MAX);
        assert!(Arc::ptr_eq(all.find(&request(1)).unwrap(), &newest));
        // Else an older one would be found again once this one is forgotten.
        assert!(all.without(&newest).is_empty());
    }

    #[test]
    fn an_url_has_a_bounded_number_of_answers_and_of_bytes() {
        let mut many = Variants::default();
        for value in 0..10 * VARIANTS_MAX {
            many = many.with(&answer(value, "x"), usize::MAX);
        }
        assert_eq!(many.0.len(), VARIANTS_MAX);
        let room = 3 * (BODY + OVERHEAD_BYTES);
        let few = many.with(&answer(0, "x"), room);
        assert!(few.bytes() <= room && few.find(&request(0)).is_some());
        assert!(few.with(&answer(0, "x"), BODY).is_empty());
    }

    #[test]
    fn a_refresh_is_made_by_one_request_and_not_again_right_after_a_failure() {
        let (answer, now) = (answer(1, "x"), Instant::now());
        assert!(answer.take_refresh(now) && !answer.take_refresh(now));
        answer.end_refresh(now);
        assert!(!answer.take_refresh(now + Duration::from_millis(900)));
        assert!(answer.take_refresh(now + Duration::from_millis(1_000)));
    }
}
