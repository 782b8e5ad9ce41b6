//! The directives of one field that governs a cache, read together.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

use crate::directives::{Directive, directives};

/// The field for caches such as this one alone (RFC 9213).
static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives of all lines of a field.
pub(super) struct DirectiveSet<'a>(Vec<Directive<'a>>);

impl<'a> DirectiveSet<'a> {
    /// Reads the field that governs this cache: `CDN-Cache-Control` if it is valid and not empty, else
    /// `Cache-Control`. `None` if that cannot be understood. The flag says whether it is the former, which
    /// replaces `Expires` and `Pragma` too.
    pub(super) fn governing(answer: &'a HeaderMap) -> Option<(Self, bool)> {
        let targeted = Self::read(answer, &CDN_CACHE_CONTROL);
        match targeted.filter(|set| !set.0.is_empty()) {
            Some(set) => Some((set, true)),
            None => Self::read(answer, &CACHE_CONTROL).map(|set| (set, false)),
        }
    }

    /// Reads a field; `None` if a line is not text or a member is malformed.
    pub(super) fn read(headers: &'a HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut all = Vec::new();
        for line in headers.get_all(name) {
            all.extend(directives(line.to_str().ok()?));
        }
        let well_formed = all.iter().all(Directive::is_well_formed);
        well_formed.then_some(Self(all))
    }

    /// Whether a directive is there, with or without an argument.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|directive| directive.is(name))
    }

    /// Whether a directive is there without an argument.
    pub(super) fn is_bare(&self, name: &str) -> bool {
        let mut named = self.0.iter().filter(|directive| directive.is(name));
        named.any(|directive| directive.is_bare())
    }

    /// The argument of a directive as a number of seconds. One that is not a number is 0, and of several
    /// the least counts: an answer with contradicting lifetimes is better stale (RFC 9111 section 4.2.1).
    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        let named = self.0.iter().filter(|directive| directive.is(name));
        named.map(|it| it.seconds().unwrap_or_default()).min()
    }
}
