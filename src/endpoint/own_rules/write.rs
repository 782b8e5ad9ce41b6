//! A request that may change what the stored answers are about.

use http::StatusCode;

use crate::cache::{CacheKey, HttpCache};
use crate::http::ProblemKind;

/// A write under way. However it ends, also without an answer, it invalidates the answers for its URL, unless it
/// is known to have changed nothing.
pub(super) struct Write<'a> {
    cache: &'a HttpCache,
    key: &'a CacheKey,
    may_change: bool,
}

impl<'a> Write<'a> {
    /// Begins one, before it is sent.
    pub(super) fn begin(cache: &'a HttpCache, key: &'a CacheKey) -> Self {
        Self {
            cache,
            key,
            may_change: true,
        }
    }

    /// Ends one that has changed nothing.
    pub(super) fn changed_nothing(mut self) {
        self.may_change = false;
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if self.may_change {
            self.cache.invalidate(self.key);
        }
    }
}

/// Whether a status says that the application has refused a write. 502 and 504 are of a gateway between, which
/// does not know that.
pub(super) fn has_failed(status: StatusCode) -> bool {
    let is_error = status.is_client_error() || status.is_server_error();
    let unknown = [StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT];
    is_error && !unknown.contains(&status)
}

/// Whether a request with this problem has not been sent.
pub(super) fn was_not_sent(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::Unauthorized
            | ProblemKind::Forbidden
            | ProblemKind::RateLimited
            | ProblemKind::Overloaded
            | ProblemKind::NoPrimary
            | ProblemKind::NoNode
            | ProblemKind::NoRegion
            | ProblemKind::LoopDetected
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderMap;
    use tidegate_policy::http_cache::{Exchange, ReuseTerms, Selection};

    use super::*;
    use crate::cache::{AnswerCache, CacheSettings, Recorded};
    use crate::http::{Compression, CompressionSettings};

    #[test]
    fn a_write_that_is_given_up_invalidates() {
        let settings = CacheSettings {
            bytes_max: 1 << 20,
            entry_bytes_max: 1 << 10,
        };
        let compression = Arc::new(Compression::new(&CompressionSettings::default()));
        let cache = HttpCache::new(Arc::new(AnswerCache::new(&settings).unwrap()), compression);
        let (cache, key) = (Arc::new(cache), CacheKey::new(1, "/a", []).unwrap());
        let request = HeaderMap::new();
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", "max-age=60".parse().unwrap());
        let exchange = Exchange {
            request: &request,
            status: StatusCode::OK,
            answer: &headers,
            now: std::time::SystemTime::now(),
        };
        let recorded = Recorded {
            status: StatusCode::OK,
            terms: ReuseTerms::of(&exchange).unwrap(),
            selection: Selection::of(&request, &headers).unwrap(),
            headers,
            served: None,
        };
        assert!(cache.begin(&key).store(recorded, Bytes::new()).is_some());
        Write::begin(&cache, &key).changed_nothing();
        assert!(cache.find(&key, &request).is_some());
        drop(Write::begin(&cache, &key));
        assert!(cache.find(&key, &request).is_none());
    }

    #[test]
    fn only_a_refusal_of_the_application_says_that_nothing_has_changed() {
        for status in [400, 403, 409, 412, 500, 503] {
            assert!(
                has_failed(StatusCode::from_u16(status).unwrap()),
                "{status}"
            );
        }
        for status in [101, 200, 303, 502, 504] {
            assert!(
                !has_failed(StatusCode::from_u16(status).unwrap()),
                "{status}"
            );
        }
        assert!(was_not_sent(ProblemKind::NoNode));
        for kind in [ProblemKind::OutcomeUnknown, ProblemKind::Deadline] {
            assert!(!was_not_sent(kind), "{kind:?}");
        }
    }
}
