//! The identity of an answer in the cache.

use quick_cache::Equivalent;

/// Identifies one answer: the revision of the tables, the normalised path, and the values of the
/// query parameters that the endpoint reads, sorted by name.
///
/// `HEAD` shares the entry of `GET`. A parameter that no statement reads cannot change the answer,
/// so it can neither fill the cache nor bypass it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    revision: u64,
    /// The path, then `NUL name NUL value` for each parameter; neither path nor name contains a
    /// NUL.
    target: Box<str>,
}

impl CacheKey {
    /// Makes the key of a request; `None` if a value contains a NUL, for which there is no answer.
    pub fn new<'a>(
        revision: u64,
        path: &str,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Option<Self> {
        let mut target = path.to_owned();
        for (name, value) in parameters {
            if value.contains('\0') {
                return None;
            }
            for part in ["\0", name, "\0", value] {
                target.push_str(part);
            }
        }
        Some(Self {
            revision,
            target: target.into(),
        })
    }

    /// Returns the revision of the tables.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns whether the path starts with a prefix.
    pub fn path_starts_with(&self, prefix: &str) -> bool {
        let path = self.target.split('\0').next();
        path.is_some_and(|path| path.starts_with(prefix))
    }

    /// Returns the bytes that it occupies in addition to its own size.
    pub(super) fn len(&self) -> usize {
        self.target.len()
    }
}

/// The key of a request without parameters, borrowed.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct PathKey<'a> {
    pub(super) revision: u64,
    pub(super) path: &'a str,
}

impl Equivalent<CacheKey> for PathKey<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        self.revision == key.revision && self.path == &*key.target
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_changes_the_answer_changes_the_key() {
        let key = |revision, path, parameters: &[(&'static str, &'static str)]| {
            CacheKey::new(revision, path, parameters.iter().copied()).unwrap()
        };
        let keys = [
            key(1, "/a", &[]),
            key(2, "/a", &[]),
            key(1, "/b", &[]),
            key(1, "/a", &[("x", "")]),
            key(1, "/a", &[("x", "1")]),
            key(1, "/a", &[("y", "1")]),
            key(1, "/a", &[("x", "1"), ("y", "2")]),
            key(1, "/a", &[("x", "1y2")]),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().position(|other| other == key), Some(index));
        }
    }

    #[test]
    fn a_value_cannot_pretend_to_be_another_parameter() {
        assert_eq!(CacheKey::new(1, "/a", [("x", "1\0y\x002")]), None);
    }

    #[test]
    fn a_prefix_is_one_of_the_path_only() {
        let key = CacheKey::new(1, "/public/rates", [("base", "EUR")]).unwrap();
        for prefix in ["/", "/public/", "/public/rates"] {
            assert!(key.path_starts_with(prefix), "{prefix}");
        }
        for prefix in ["/public/rates/", "/public/rates\0", "/private", "public"] {
            assert!(!key.path_starts_with(prefix), "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn a_borrowed_key_finds_the_owned_one(revision: u64, path in "/[a-z/]{0,12}") {
            let owned = CacheKey::new(revision, &path, []).unwrap();
            let borrowed = PathKey { revision, path: &path };
            let hasher = RandomState::new();
            prop_assert!(borrowed.equivalent(&owned));
            prop_assert_eq!(hasher.hash_one(borrowed), hasher.hash_one(&owned));
        }
    }
}
