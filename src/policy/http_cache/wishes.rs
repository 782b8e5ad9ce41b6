//! What a request says about stored answers (RFC 9111 section 5.2.1).

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::directive_set::DirectiveSet;

/// The directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A stored answer has to be validated before it is used.
    pub no_cache: bool,
    /// Nothing of this request or its answer is stored, and nothing stored is used.
    pub no_store: bool,
    /// The application is not asked.
    pub only_if_cached: bool,
    /// The greatest age of an answer.
    pub max_age: Option<Duration>,
    /// For how much longer an answer has to be fresh.
    pub min_fresh: Duration,
    /// For how long an answer may have been stale.
    pub max_stale: Option<Duration>,
}

impl Wishes {
    /// Reads a request. A field that cannot be understood asks for validation.
    pub fn of(request: &HeaderMap) -> Self {
        let Some(said) = DirectiveSet::read(request, &CACHE_CONTROL) else {
            return Self {
                no_cache: true,
                ..Self::default()
            };
        };
        let pragma = || {
            let pragma = DirectiveSet::read(request, &PRAGMA);
            !request.contains_key(CACHE_CONTROL) && pragma.is_some_and(|it| it.has("no-cache"))
        };
        Self {
            no_cache: said.has("no-cache") || pragma(),
            no_store: said.has("no-store"),
            only_if_cached: said.has("only-if-cached"),
            max_age: said.seconds("max-age"),
            min_fresh: said.seconds("min-fresh").unwrap_or_default(),
            max_stale: said.has("max-stale").then(|| {
                let stated = said.seconds("max-stale").filter(|it| !it.is_zero());
                stated.unwrap_or(match said.is_bare("max-stale") {
                    true => Duration::MAX,
                    false => Duration::ZERO,
                })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(name: &'static str, value: &'static str) -> Wishes {
        let mut request = HeaderMap::new();
        request.insert(name, value.parse().unwrap());
        Wishes::of(&request)
    }

    #[test]
    fn a_request_that_says_nothing_accepts_any_usable_answer() {
        assert_eq!(Wishes::of(&HeaderMap::new()), Wishes::default());
        assert_eq!(wishes("cache-control", "x=1, y"), Wishes::default());
    }

    #[test]
    fn directives_are_read_from_cache_control_and_else_from_pragma() {
        let seconds = |it| Some(Duration::from_secs(it));
        assert_eq!(wishes("cache-control", "MAX-AGE=5").max_age, seconds(5));
        assert_eq!(wishes("cache-control", "max-stale=5").max_stale, seconds(5));
        assert_eq!(
            wishes("cache-control", "max-stale").max_stale,
            Some(Duration::MAX)
        );
        assert_eq!(wishes("cache-control", "max-stale=x").max_stale, seconds(0));
        assert!(wishes("cache-control", "no-cache").no_cache);
        assert!(wishes("cache-control", "max-age=5;no-cache").no_cache);
        assert!(wishes("pragma", "no-cache").no_cache);
        let mut both = HeaderMap::new();
        both.insert(CACHE_CONTROL, "max-age=5".parse().unwrap());
        both.insert(PRAGMA, "no-cache".parse().unwrap());
        assert!(!Wishes::of(&both).no_cache);
    }
}
