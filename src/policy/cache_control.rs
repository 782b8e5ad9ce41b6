//! A policy row's `Cache-Control`, and whether it lets shared caches keep the answer.
//!
//! Directives are read as RFC 9111 section 5.2 has them: names in any letter case, arguments
//! perhaps quoted, and a comma inside quotes is no separator.

use http::HeaderValue;

/// The value of whatever must not be kept: answers to requests that state a level or carry a token,
/// writes, errors, and paths without a row.
pub static NO_STORE_PRIVATE: HeaderValue = HeaderValue::from_static("no-store, private");

/// Holds a checked `Cache-Control` value, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheControl {
    header: HeaderValue,
    public: bool,
    no_store: bool,
}

impl CacheControl {
    /// Returns what a row without `cache_control` sends: [`NO_STORE_PRIVATE`].
    pub fn no_store() -> Self {
        Self {
            header: NO_STORE_PRIVATE.clone(),
            public: false,
            no_store: true,
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// It cannot be sent as a header, or says both that answers are public and that they are not.
    pub fn parse(text: &str) -> Result<Self, CacheControlError> {
        let header = HeaderValue::from_str(text).or(Err(CacheControlError::Character))?;
        let says = |name: &str| directives(text).any(|found| found.eq_ignore_ascii_case(name));
        let (public, no_store) = (says("public"), says("no-store"));
        if public && (says("private") || no_store) {
            return Err(CacheControlError::Contradiction);
        }
        Ok(Self {
            header,
            public,
            no_store,
        })
    }

    /// Returns the value to send.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Returns whether it says `public`.
    pub fn is_public(&self) -> bool {
        self.public
    }

    /// Returns whether it says `no-store`.
    pub fn is_no_store(&self) -> bool {
        self.no_store
    }
}

/// Says why a text is no `Cache-Control` value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheControlError {
    /// It has a character that no header may have.
    #[error("cache_control has a character that no header may have")]
    Character,
    /// It says `public` and, at the same time, `private` or `no-store`.
    #[error("cache_control says `public` together with `private` or `no-store`")]
    Contradiction,
}

/// Returns the names of the directives.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let separates = move |c: char| {
        let literal = escaped;
        escaped = quoted && !literal && c == '\\';
        if c == '"' && !literal {
            quoted = !quoted;
        }
        c == ',' && !quoted
    };
    text.split(separates).map(|directive| {
        directive
            .split_once('=')
            .map_or(directive, |(name, _)| name)
            .trim()
    })
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
}
