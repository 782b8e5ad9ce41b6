//! The URLs that stored answers are for.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use url::Url;

use crate::cache::CacheKey;
use crate::upstream::origin_seen;
use tidegate_model::normalise;

/// Most bytes of a URL in an answer that is compared with those of stored answers.
const LOCATION_BYTES_MAX: usize = 8 << 10;

/// The URL of a request, as the application sees it.
#[derive(Clone)]
pub(super) struct Target {
    revision: u64,
    origin: String,
    path: String,
    query: Option<String>,
}

impl Target {
    /// Reads a request whose path is normalised.
    pub(super) fn of(revision: u64, path: &str, head: &Parts, trusted: &[IpNet]) -> Self {
        Self {
            revision,
            origin: origin_seen(head, trusted),
            path: path.to_owned(),
            query: head.uri.query().map(str::to_owned),
        }
    }

    /// The key of answers for it. The application may put host and protocol into its answers, so they
    /// belong to the key.
    pub(super) fn key(&self) -> Option<CacheKey> {
        self.key_of(&self.path, self.query.as_deref())
    }

    fn key_of(&self, path: &str, query: Option<&str>) -> Option<CacheKey> {
        let query = query.map(|query| ("", query));
        let parts = [("origin", &*self.origin)].into_iter().chain(query);
        CacheKey::new(self.revision, path, parts)
    }

    /// The keys of the URLs on the same origin that an answer says it has changed as well (RFC 9111
    /// section 4.4).
    pub(super) fn keys_named(&self, answer: &HeaderMap) -> Vec<CacheKey> {
        let fields = [LOCATION, CONTENT_LOCATION].map(|name| answer.get(name));
        let fields = fields.into_iter().flatten();
        fields.filter_map(|field| self.key_named(field)).collect()
    }

    fn key_named(&self, field: &HeaderValue) -> Option<CacheKey> {
        let text = field
            .to_str()
            .ok()
            .filter(|it| it.len() <= LOCATION_BYTES_MAX)?;
        let base = Url::parse(&format!("{}{}", self.origin, self.path)).ok()?;
        let named = base
            .join(text)
            .ok()
            .filter(|named| named.origin() == base.origin())?;
        let path = normalise(named.path()).ok()?;
        self.key_of(&path, named.query())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn target(host: &str, path: &str) -> Target {
        let request = Request::builder().uri(path).header("host", host);
        let (head, ()) = request.body(()).unwrap().into_parts();
        Target::of(1, head.uri.path(), &head, &[])
    }

    #[test]
    fn host_path_and_query_are_the_key() {
        let key = |host, path| target(host, path).key().unwrap();
        assert!(key("a", "/x?q=1") == key("A", "/x?q=1"));
        for (host, path) in [
            ("b", "/x?q=1"),
            ("a", "/x?q=2"),
            ("a", "/x"),
            ("a", "/y?q=1"),
        ] {
            assert!(key(host, path) != key("a", "/x?q=1"), "{host}{path}");
        }
    }

    #[test]
    fn an_answer_names_urls_of_its_own_origin_alone() {
        let asked = target("app.example.com", "/things/1?x");
        let named = |location: &'static str| {
            let mut answer = HeaderMap::new();
            answer.insert(LOCATION, HeaderValue::from_static(location));
            asked.keys_named(&answer)
        };
        let expected = || vec![target("app.example.com", "/things/2?y=1").key().unwrap()];
        assert!(named("/things/2?y=1") == expected());
        assert!(named("2?y=1") == expected());
        assert!(named("http://app.example.com/things/2?y=1") == expected());
        for other in [
            "http://other.example.com/things/2",
            "https://app.example.com/",
            "//x/",
            "mailto:x",
            "http://[",
        ] {
            assert!(named(other).is_empty(), "{other}");
        }
    }
}
