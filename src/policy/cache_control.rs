//! A policy row's `Cache-Control`, and whether it lets shared caches keep the answer.

use std::time::Duration;

use http::HeaderValue;

use super::directives::directives;
use crate::Lifetime;

/// The value for everything that must not be stored: answers to requests that state a level or
/// carry a token, writes, errors, and paths without a row.
pub static NO_STORE_PRIVATE: HeaderValue = HeaderValue::from_static("no-store, private");

/// The values for answers that may be stored but not used without revalidation, by shared caches
/// too or by the client alone.
pub(super) static NO_CACHE: HeaderValue =
    HeaderValue::from_static("no-cache, max-age=0, must-revalidate");
pub(super) static PRIVATE_NO_CACHE: HeaderValue =
    HeaderValue::from_static("private, no-cache, max-age=0, must-revalidate");

/// Holds a checked `Cache-Control` value, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheControl {
    header: HeaderValue,
    public: bool,
    no_store: bool,
    shared: Option<Lifetime>,
    application: bool,
    no_transform: bool,
}

/// What a row says to leave caching to the application.
const APPLICATION: &str = "application";

impl CacheControl {
    /// Returns what a row without `cache_control` sends: [`NO_STORE_PRIVATE`].
    pub fn no_store() -> Self {
        Self {
            header: NO_STORE_PRIVATE.clone(),
            public: false,
            no_store: true,
            shared: None,
            application: false,
            no_transform: false,
        }
    }

    /// Checks a value. One that says neither `public` nor `no-store` is sent as `private`: without a word,
    /// a lifetime alone would let shared caches hand one client's answer to others (RFC 9111 section 3).
    ///
    /// # Errors
    ///
    /// The value cannot be sent as a header, contradicts itself on whether answers are public,
    /// has a lifetime that is not a number of seconds or is repeated, or leaves caching to the application
    /// and says more.
    pub fn parse(text: &str) -> Result<Self, CacheControlError> {
        if text == APPLICATION {
            return Ok(Self {
                no_store: false,
                application: true,
                ..Self::no_store()
            });
        }
        let header = HeaderValue::from_str(text).or(Err(CacheControlError::Character))?;
        // Sent as a directive, it would mean nothing to anyone.
        if directives(text).any(|it| it.is(APPLICATION)) {
            return Err(CacheControlError::Application);
        }
        let says = |name: &str| directives(text).any(|it| it.is(name));
        let (public, no_store) = (says("public"), says("no-store"));
        if public && (says("private") || no_store) {
            return Err(CacheControlError::Contradiction);
        }
        if !public && says("s-maxage") {
            return Err(CacheControlError::SharedLifetime);
        }
        let is_private = directives(text).any(|it| it.is("private") && it.is_bare());
        let header = match public || no_store || is_private {
            true => header,
            false => private(text)?,
        };
        let lifetime = lifetime(text)?;
        Ok(Self {
            header,
            public,
            no_store,
            shared: lifetime.filter(|_| public && !says("no-cache")),
            application: false,
            no_transform: says("no-transform"),
        })
    }

    /// Returns the value to send; on rows of the application, with what it does not decide.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Returns the value that the row stands for.
    pub fn as_written(&self) -> &str {
        match self.application {
            true => APPLICATION,
            false => self.header.to_str().unwrap_or_default(),
        }
    }

    /// Returns whether the application's own fields decide, and not the row.
    pub fn is_application(&self) -> bool {
        self.application
    }

    /// Returns whether it says `public`.
    pub fn is_public(&self) -> bool {
        self.public
    }

    /// Returns whether it says `no-store`.
    pub fn is_no_store(&self) -> bool {
        self.no_store
    }

    /// Returns whether it says `no-transform`.
    pub fn is_no_transform(&self) -> bool {
        self.no_transform
    }

    /// Returns how long a shared cache may use an answer; none if it must always revalidate.
    pub fn shared_lifetime(&self) -> Option<Lifetime> {
        self.shared
    }
}

/// The value with `private` before what it says.
fn private(text: &str) -> Result<HeaderValue, CacheControlError> {
    let text = match text.trim().is_empty() {
        true => "private".to_owned(),
        false => format!("private, {text}"),
    };
    HeaderValue::from_str(&text).or(Err(CacheControlError::Character))
}

/// Why a text is not a `Cache-Control` value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheControlError {
    /// It has a character that is not allowed in a header.
    #[error("it has a character that is not allowed in a header")]
    Character,
    /// It says `public` and, at the same time, `private` or `no-store`.
    #[error("it says `public` together with `private` or `no-store`")]
    Contradiction,
    /// It has a lifetime for shared caches, which may not keep the answer.
    #[error("s-maxage is for shared caches: say `public` too, or use max-age")]
    SharedLifetime,
    /// A lifetime is not a whole number of seconds.
    #[error("{0} needs a whole number of seconds, as in {0}=60")]
    Seconds(&'static str),
    /// It leaves caching to the application, in other letters or beside something else.
    #[error("`application` stands alone and in lower case")]
    Application,
    /// A lifetime is given twice, and readers differ in which one they use.
    #[error("it says {0} more than once")]
    Repeated(&'static str),
}

/// Reads the directives that declare a lifetime; returns `None` if there is none.
///
/// `s-maxage` counts in place of `max-age`. It also forbids stale answers (RFC 9111 section
/// 5.2.2.10) unless the row itself allows them by RFC 5861, which is how caches interpret the
/// combination.
fn lifetime(text: &str) -> Result<Option<Lifetime>, CacheControlError> {
    let says = |name: &str| directives(text).any(|it| it.is(name));
    let (own, shared) = (seconds(text, "max-age")?, seconds(text, "s-maxage")?);
    let while_revalidate = seconds(text, "stale-while-revalidate")?.unwrap_or_default();
    let if_error = seconds(text, "stale-if-error")?.unwrap_or_default();
    let stale_forbidden = says("must-revalidate") || says("proxy-revalidate");
    let allowed = |stale: Duration| {
        if stale_forbidden {
            Duration::ZERO
        } else {
            stale
        }
    };
    let lifetime = shared.or(own).map(|fresh| Lifetime {
        fresh,
        while_revalidate: allowed(while_revalidate),
        if_error: allowed(if_error),
    });
    Ok(lifetime.filter(|lifetime| !lifetime.total().is_zero()))
}

/// Reads the argument of one directive.
fn seconds(text: &str, name: &'static str) -> Result<Option<Duration>, CacheControlError> {
    let mut found = directives(text).filter(|it| it.is(name));
    let Some(directive) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err(CacheControlError::Repeated(name));
    }
    let seconds = directive.seconds();
    seconds.map(Some).ok_or(CacheControlError::Seconds(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        CacheControl::parse(text).unwrap().is_public()
    }

    #[test]
    fn public_is_a_directive_of_its_own() {
        for text in [
            "public",
            "Public, max-age=300",
            "max-age=300 , PUBLIC",
            "a=\"x, y\",public",
        ] {
            assert!(is_public(text), "{text}");
        }
        for text in [
            "",
            "no-store, private",
            "republic",
            "public-ish",
            "x=public",
            "private=\"a, public\"",
        ] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[test]
    fn a_quoted_comma_separates_nothing() {
        assert!(!is_public(r#"x="a \", public, b""#));
        assert!(is_public(r#"x="a \\", public"#));
    }

    #[test]
    fn what_is_not_public_is_private_even_if_it_does_not_say_so() {
        for (text, sent) in [
            ("max-age=60", "private, max-age=60"),
            ("must-revalidate", "private, must-revalidate"),
            ("no-cache", "private, no-cache"),
            (
                "private=\"x\", max-age=60",
                "private, private=\"x\", max-age=60",
            ),
            ("", "private"),
            ("max-age=60, Private", "max-age=60, Private"),
            ("no-store", "no-store"),
        ] {
            assert_eq!(CacheControl::parse(text).unwrap().header(), sent, "{text}");
        }
        for text in ["s-maxage=60", "private, s-maxage=60"] {
            let error = CacheControl::parse(text).unwrap_err();
            assert_eq!(error, CacheControlError::SharedLifetime, "{text}");
        }
    }

    #[test]
    fn the_value_is_sent_as_written() {
        let text = "public, max-age=300, stale-while-revalidate=60";
        assert_eq!(CacheControl::parse(text).unwrap().header(), text);
        assert_eq!(CacheControl::no_store().header(), "no-store, private");
        assert_eq!(
            CacheControl::parse("no-store, private"),
            Ok(CacheControl::no_store())
        );
    }

    #[test]
    fn what_cannot_be_sent_or_contradicts_itself_is_refused() {
        assert_eq!(
            CacheControl::parse("public\r\nx: y"),
            Err(CacheControlError::Character)
        );
        for text in [
            "public, no-store",
            "private, public",
            "public, private=\"x\"",
        ] {
            assert_eq!(
                CacheControl::parse(text),
                Err(CacheControlError::Contradiction),
                "{text}"
            );
        }
    }

    #[test]
    fn application_stands_alone_and_in_lower_case() {
        assert!(CacheControl::parse("application").unwrap().is_application());
        for text in [
            "Application",
            " application",
            "application, public",
            "max-age=60, APPLICATION",
            "application=1",
        ] {
            assert_eq!(
                CacheControl::parse(text),
                Err(CacheControlError::Application),
                "{text}"
            );
        }
        assert!(CacheControl::parse("x=\"application\"").is_ok());
    }

    fn lifetime(text: &str) -> Option<[u64; 3]> {
        let lifetime = CacheControl::parse(text).unwrap().shared_lifetime()?;
        let times = [lifetime.fresh, lifetime.while_revalidate, lifetime.if_error];
        Some(times.map(|time| time.as_secs()))
    }

    #[test]
    fn the_lifetime_is_that_of_shared_caches() {
        for (text, expected) in [
            ("public, max-age=300", [300, 0, 0]),
            ("Public, Max-Age=\"300\", x=\"max-age=1\"", [300, 0, 0]),
            ("public, max-age=1, s-maxage=60", [60, 0, 0]),
            (
                "public, max-age=1, stale-while-revalidate=2, stale-if-error=3",
                [1, 2, 3],
            ),
            ("public, s-maxage=1, stale-while-revalidate=2", [1, 2, 0]),
            ("public, max-age=0, stale-if-error=3", [0, 0, 3]),
            (
                "public, max-age=1, stale-if-error=3, must-revalidate",
                [1, 0, 0],
            ),
            (
                "public, max-age=1, stale-if-error=3, proxy-revalidate",
                [1, 0, 0],
            ),
            ("public, max-age=99999999999999999999", [1 << 31, 0, 0]),
        ] {
            assert_eq!(lifetime(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_must_not_be_used_without_asking_has_no_lifetime() {
        for text in [
            "max-age=300",
            "private, max-age=300",
            "no-store",
            "public",
            "public, max-age=0",
            "public, stale-while-revalidate=60",
            "public, max-age=300, no-cache",
            "public, max-age=300, no-cache=\"set-cookie\"",
        ] {
            assert_eq!(lifetime(text), None, "{text}");
        }
    }

    #[test]
    fn a_lifetime_that_is_no_number_of_seconds_is_refused() {
        for text in [
            "max-age",
            "max-age=",
            "max-age=1.5",
            "max-age=-1",
            "max-age=5m",
        ] {
            assert_eq!(
                CacheControl::parse(text),
                Err(CacheControlError::Seconds("max-age")),
                "{text}"
            );
        }
        assert_eq!(
            CacheControl::parse("public, s-maxage=1, s-maxage=1"),
            Err(CacheControlError::Repeated("s-maxage"))
        );
    }
}
