//! What a request on a row of the application may do with stored answers.

use crate::cache::has_precondition;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderMap, Method};
use tidegate_policy::http_cache::Wishes;

use crate::endpoint::Reached;
use crate::upstream::withholds_fields;
use tidegate_policy::Decision;

/// What a request may do with stored answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum CacheUse {
    /// It is answered by one, if it can be, and its answer is stored.
    Whole,
    /// It is answered by one, if it can be.
    Reuse,
    /// It changes what they are about.
    Invalidate,
    /// Nothing.
    Bypass,
}

/// What a request may do with stored answers, and what it says about them.
#[derive(Clone, Copy, Debug)]
pub(in crate::endpoint) struct CachePlan {
    /// What it may do.
    pub uses: CacheUse,
    /// What it says.
    pub wishes: Wishes,
}

impl CachePlan {
    /// Reads a request; `None` if the application does not decide about the answers of its path, or none of
    /// them is stored. A request that states a level, or that the traffic policy binds to a region, is not
    /// answered by a stored answer.
    pub(in crate::endpoint) fn of(
        reached: &Reached<'_>,
        decision: &Decision,
        (head, has_body): (&Parts, bool),
        is_bound: bool,
    ) -> Option<Self> {
        let decides = reached.policy?.cache_control().is_application();
        let mut plan = Self::read(&head.method, &head.headers, has_body);
        // The endpoint of a write need not be the one whose answers are stored.
        let stores =
            plan.uses == CacheUse::Invalidate || reached.endpoint.backend.shared_by().is_some();
        if !decides || !stores {
            return None;
        }
        if plan.uses != CacheUse::Invalidate && (!decision.own_rules || is_bound) {
            plan.uses = CacheUse::Bypass;
        }
        Some(plan)
    }

    fn read(method: &Method, headers: &HeaderMap, has_body: bool) -> Self {
        let wishes = Wishes::of(headers);
        // A body is not part of the key, and an answer to another protocol is none.
        let is_plain = !has_body
            && !wishes.no_store
            && !headers.contains_key(UPGRADE)
            // The application does not see all that an answer is selected by.
            && !withholds_fields(headers)
            && !has_precondition(headers);
        let uses = match *method {
            Method::GET if is_plain => CacheUse::Whole,
            Method::HEAD if is_plain => CacheUse::Reuse,
            _ if method.is_safe() => CacheUse::Bypass,
            _ => CacheUse::Invalidate,
        };
        Self { uses, wishes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(method: &str, lines: &[(&'static str, &'static str)], has_body: bool) -> CacheUse {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        CachePlan::read(&method.parse().unwrap(), &headers, has_body).uses
    }

    #[test]
    fn reads_are_stored_and_everything_unsafe_invalidates() {
        assert_eq!(
            uses("GET", &[("authorization", "x"), ("cookie", "y")], false),
            CacheUse::Whole
        );
        let connection = ("connection", "TE, keep-alive, close");
        assert_eq!(uses("GET", &[connection], false), CacheUse::Whole);
        assert_eq!(uses("HEAD", &[], false), CacheUse::Reuse);
        for method in ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH", "get"] {
            assert_eq!(
                uses(method, &[("cache-control", "no-store")], true),
                CacheUse::Invalidate
            );
        }
        assert_eq!(uses("OPTIONS", &[], false), CacheUse::Bypass);
    }

    #[test]
    fn a_read_of_which_the_url_does_not_say_everything_bypasses_the_cache() {
        assert_eq!(uses("GET", &[], true), CacheUse::Bypass);
        for line in [
            ("cache-control", "no-store"),
            ("upgrade", "websocket"),
            ("connection", "close, Accept-Language"),
            ("if-match", "\"a\""),
            ("if-unmodified-since", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ] {
            assert_eq!(uses("GET", &[line], false), CacheUse::Bypass, "{line:?}");
        }
    }
}
