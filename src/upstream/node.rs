//! One node of an upstream.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::UpstreamNodeConfig;
use tidegate_model::RegionId;

/// The characters written as `%XX` in a path: all except those allowed literally there (RFC 3986
/// section 3.3), so that a path has one spelling, which all readers interpret in the same way.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// A node of an upstream.
#[derive(Debug)]
pub struct UpstreamNode {
    /// The URL without its scheme, for logs, metrics and operators.
    pub name: String,
    /// Its region; `None` if not configured.
    pub region: Option<RegionId>,
    shared_name: Arc<str>,
    base: Url,
    /// Has one reference more than there are [`Visit`]s.
    visits: Arc<()>,
}

/// A request or WebSocket under way at a node, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Visit(#[expect(dead_code, reason = "it counts while it exists")] Arc<()>);

impl UpstreamNode {
    pub(super) fn new(config: &UpstreamNodeConfig) -> Self {
        Self {
            shared_name: config.url.node_name().into(),
            name: config.url.node_name(),
            visits: Arc::default(),
            region: config.region.clone(),
            base: config.url.as_url().clone(),
        }
    }

    /// Its name, for what outlives it.
    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared_name)
    }

    /// Counts a request or WebSocket that begins now.
    pub(super) fn visit(&self) -> Visit {
        Visit(Arc::clone(&self.visits))
    }

    /// Requests and WebSockets under way, until their last byte.
    #[must_use]
    pub fn under_way(&self) -> usize {
        Arc::strong_count(&self.visits) - 1
    }

    /// The target of a request: below the node's own path, whatever the request's path.
    pub(super) fn url(&self, path: &str, query: Option<&str>) -> Uri {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}{path}"));
        url.set_query(query);
        // A URL escapes more characters than a URI forbids.
        url.as_str().parse().unwrap_or_default()
    }

    /// The same for a normalised path, without the node's address: as it stands in a request to it.
    pub(super) fn target(&self, path: &str, query: Option<&str>) -> Uri {
        let as_url = || {
            let url = self.url(&encode_path(path), query).into_parts();
            url.path_and_query.unwrap_or(PathAndQuery::from_static("/"))
        };
        let target = match query.is_none_or(|query| query.bytes().all(is_plain_in_query)) {
            true => self.plain_target(path, query),
            false => None,
        };
        target.unwrap_or_else(as_url).into()
    }

    /// Joins the parts of a target without anything to escape in its query: far cheaper than a URL.
    fn plain_target(&self, path: &str, query: Option<&str>) -> Option<PathAndQuery> {
        let prefix = self.base.path().trim_end_matches('/');
        let length = prefix.len() + path.len() + query.map_or(0, |query| query.len() + 1);
        let mut text = String::with_capacity(length);
        text.push_str(prefix);
        text.extend(utf8_percent_encode(path, ESCAPED));
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::from_maybe_shared(Bytes::from(text)).ok()
    }

    /// Translates a URL of this node into the path that clients use. `None` for any other URL.
    #[must_use]
    pub fn as_asked(&self, url: &str) -> Option<String> {
        // Two slashes name a host under the current scheme; browsers treat a backslash as a slash.
        let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
        let names_host = url
            .as_bytes()
            .iter()
            .take_while(|byte| is_slash(byte))
            .count()
            >= 2;
        let url = match names_host {
            true => self.base.join(url).ok()?,
            false => url.parse().ok()?,
        };
        if url.origin() != self.base.origin() {
            return None;
        }
        let prefix = self.base.path().trim_end_matches('/');
        let path = url.path().strip_prefix(prefix)?;
        // Two slashes at the start would name a host: the URL standard then writes a segment that means nothing
        // before them.
        let before = match path.starts_with("//") {
            true => "/.",
            false => "",
        };
        path.starts_with('/')
            .then(|| [before, path, &after_path(&url)].concat())
    }
}

/// Whether a URL has a byte of a query as it is (the special-query percent-encode set of the URL standard).
fn is_plain_in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\'')
}

/// The query and the fragment, with their delimiters.
fn after_path(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}"));
    let fragment = url.fragment().map(|fragment| format!("#{fragment}"));
    [query, fragment].into_iter().flatten().collect()
}

/// Encodes a normalised path as it is sent.
#[must_use]
pub fn encode_path(normalised: &str) -> String {
    // Most paths are plain, and copied in one piece.
    let encoded: Cow<'_, str> = utf8_percent_encode(normalised, ESCAPED).into();
    encoded.into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tidegate_model::normalise;

    fn node(url: &str) -> UpstreamNode {
        let config = UpstreamNodeConfig {
            region: None,
            url: url.parse().unwrap(),
        };
        UpstreamNode::new(&config)
    }

    #[test]
    fn a_path_goes_below_the_nodes_own() {
        for (base, path, query, expected) in [
            ("http://a:3000", "/x/y", None, "http://a:3000/x/y"),
            ("http://a/base/", "/x/", Some("q=1"), "http://a/base/x/?q=1"),
            (
                "http://a",
                "/a b?c#d%é",
                None,
                "http://a/a%20b%3Fc%23d%25%C3%A9",
            ),
            ("http://a", "/", Some("a=%2F&&b"), "http://a/?a=%2F&&b"),
        ] {
            let url = node(base).url(&encode_path(path), query);
            assert_eq!(url, expected);
        }
        assert_eq!(node("https://a:1/b/").name, "a:1/b");
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_ends() {
        let node = node("http://a");
        let (one, another) = (node.visit(), node.visit());
        assert_eq!(node.under_way(), 2);
        drop(one);
        assert_eq!(node.under_way(), 1);
        drop(another);
        assert_eq!(node.under_way(), 0);
    }

    #[test]
    fn a_url_of_the_node_is_a_path_to_clients_and_any_other_stays() {
        for (base, url, expected) in [
            ("http://a:3000", "http://a:3000/x/?q=1#f", Some("/x/?q=1#f")),
            ("http://a/base", "http://a/base/x", Some("/x")),
            ("http://a/base", "http://a/other", None),
            ("http://a/base", "http://a/based", None),
            ("http://a", "http://a//b/?q#f", Some("/.//b/?q#f")),
            ("http://a", "http://a///b", Some("/.///b")),
            ("http://a/base", "http://a/base//b", Some("/.//b")),
            ("http://a:3000", "//a:3000/x?q=1", Some("/x?q=1")),
            ("https://a/base", "//A:443/base/x", Some("/x")),
            ("http://a", "/\\a/x", Some("/x")),
            ("http://a", "//b/x", None),
            ("http://a", "//a//b", Some("/.//b")),
            ("http://a", "//a/\\b", Some("/.//b")),
            ("http://a", "//a/.//b", Some("/.//b")),
            ("http://a", "\\\\a/%2e/\\b", Some("/.//b")),
            ("http://a", "//", None),
            ("http://a", "https://a/x", None),
            ("http://a", "http://a:81/x", None),
            ("http://a", "/x", None),
        ] {
            assert_eq!(node(base).as_asked(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn no_url_of_the_node_leads_clients_to_another_host() {
        let edge: Url = "https://edge.example/app/x".parse().unwrap();
        for path in [
            "/b", "//b", "///b", "/\\b", "\\\\b", "/.//b", "/..//b", "/%2e//b", "/\t/b", "//b@c:1/",
        ] {
            let url = format!("http://a/base{path}");
            let Some(asked) = node("http://a/base").as_asked(&url) else {
                continue;
            };
            let seen = edge.join(&asked).unwrap();
            assert_eq!(seen.origin(), edge.origin(), "{path}: {asked}");
        }
    }

    proptest! {
        #[test]
        fn a_target_is_the_urls_own(
            raw in "/[ -~é]{0,20}",
            query in proptest::option::of("[ -~é\t]{0,20}"),
            base in "(|/base/|/b%20c)",
        ) {
            let Ok(path) = normalise(&raw) else { return Ok(()) };
            let node = node(&format!("http://node:3000{base}"));
            let url = node.url(&encode_path(&path), query.as_deref());
            prop_assert_eq!(
                Some(node.target(&path, query.as_deref())),
                url.path_and_query().cloned().map(Uri::from)
            );
        }

        #[test]
        fn no_path_leaves_the_node_or_changes_on_the_way(raw in "/[ -~é]{0,40}") {
            let Ok(path) = normalise(&raw) else { return Ok(()) };
            let url = node("http://node:3000/base").url(&encode_path(&path), None);
            prop_assert_eq!(url.authority().unwrap().as_str(), "node:3000");
            let below = url.path().strip_prefix("/base").unwrap();
            prop_assert_eq!(normalise(below).unwrap(), path);
        }
    }
}
