//! The one form of a path that the policy table and the router see.
//!
//! Nothing is repaired: a path that two readers could interpret differently is refused, so that no
//! spelling of a path gets a weaker policy than the path itself.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest path as sent; proxies and CDNs in front allow no more.
const LENGTH_MAX: usize = 8 * 1024;

/// Decodes a request's path once and checks that it is unambiguous.
///
/// A trailing slash is kept: it makes another path. Borrows unless there is something to decode.
///
/// # Errors
///
/// States what makes the path ambiguous or invalid.
pub fn normalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if raw.len() > LENGTH_MAX {
        return Err(PathError::TooLong);
    }
    if is_plain(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let path = decode(raw)?;
    check(&path)?;
    Ok(path)
}

/// Returns whether a path is one that [`normalise`] returns.
#[must_use]
pub fn is_normal(path: &str) -> bool {
    path.len() <= LENGTH_MAX && check(path).is_ok()
}

/// Whether there is nothing to decode and nothing to refuse, found in one pass; true of most paths.
fn is_plain(raw: &str) -> bool {
    let mut after_slash = false;
    let plain = |byte: u8| {
        let segment_begins = std::mem::replace(&mut after_slash, byte == b'/');
        match byte {
            b'%' | b'\\' => false,
            b'/' | b'.' => !segment_begins,
            _ => !byte.is_ascii_control(),
        }
    };
    raw.starts_with('/') && raw.bytes().all(plain)
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is longer than 8 KiB.
    #[error("the path is longer than {LENGTH_MAX} bytes")]
    TooLong,
    /// It does not start with a slash.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("the path has an invalid percent escape")]
    InvalidEscape,
    /// An escaped slash separates segments only for some readers.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// Decoded, it is not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A backslash is a slash for some readers.
    #[error("the path has a backslash")]
    Backslash,
    /// NUL or another ASCII control character ends the path for some readers.
    #[error("the path has a control character")]
    ControlCharacter,
    /// Some readers treat two slashes as one.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// Some readers resolve `.` and `..`.
    #[error("the path has a dot segment")]
    DotSegment,
}

fn decode(raw: &str) -> Result<Cow<'_, str>, PathError> {
    for (at, _) in raw.match_indices('%') {
        match raw.as_bytes().get(at + 1..at + 3) {
            Some([b'2', b'f' | b'F']) => return Err(PathError::EncodedSlash),
            Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return Err(PathError::InvalidEscape),
        }
    }
    percent_decode_str(raw)
        .decode_utf8()
        .or(Err(PathError::NotUtf8))
}

fn check(path: &str) -> Result<(), PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.contains('\\') {
        return Err(PathError::Backslash);
    }
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(PathError::ControlCharacter);
    }
    if path.contains("//") {
        return Err(PathError::EmptySegment);
    }
    // Some readers strip a segment's parameters before they look at it.
    let mut bare = path
        .split('/')
        .filter_map(|segment| segment.split(';').next());
    if bare.any(|segment| matches!(segment, "." | "..")) {
        return Err(PathError::DotSegment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_path_is_borrowed() {
        let path = "/api/v1/rates/EUR/USD";
        assert!(matches!(normalise(path), Ok(Cow::Borrowed(same)) if same == path));
    }

    #[test]
    fn escapes_are_decoded_once() {
        let cases = [
            ("/%61ccount", "/account"),
            ("/caf%C3%A9", "/café"),
            ("/100%25", "/100%"),
            ("/%252e%252e/", "/%2e%2e/"),
            ("/a%20b", "/a b"),
        ];
        for (raw, path) in cases {
            assert_eq!(normalise(raw).as_deref(), Ok(path), "{raw}");
            assert!(is_normal(path), "{path}");
        }
        assert!(!is_normal("/a/../b") && !is_normal("a") && !is_normal("/a\n"));
    }

    #[test]
    fn a_trailing_slash_and_odd_dots_stay() {
        for path in [
            "/",
            "/x/",
            "/...",
            "/.well-known",
            "/a.b",
            "/a..b",
            "/a.",
            "/..a;b",
        ] {
            assert_eq!(normalise(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn a_path_with_two_readings_is_refused() {
        let cases = [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("public", PathError::NotAbsolute),
            ("/public//rates", PathError::EmptySegment),
            ("//", PathError::EmptySegment),
            ("/public/../account", PathError::DotSegment),
            ("/public/%2e%2E/account", PathError::DotSegment),
            ("/public/.%2e", PathError::DotSegment),
            ("/./public", PathError::DotSegment),
            ("/public/..;/account", PathError::DotSegment),
            ("/public/%2e%2e%3ba=b/account", PathError::DotSegment),
            ("/public%2faccount", PathError::EncodedSlash),
            ("/public%2Faccount", PathError::EncodedSlash),
            ("/public\\account", PathError::Backslash),
            ("/public%5caccount", PathError::Backslash),
            ("/public%00", PathError::ControlCharacter),
            ("/public%0d%0a", PathError::ControlCharacter),
            ("/public\u{7f}", PathError::ControlCharacter),
            ("/%", PathError::InvalidEscape),
            ("/%2", PathError::InvalidEscape),
            ("/%zz", PathError::InvalidEscape),
            ("/%+1", PathError::InvalidEscape),
            ("/%é", PathError::InvalidEscape),
            ("/%ff", PathError::NotUtf8),
            ("/%c0%af", PathError::NotUtf8),
        ];
        for (raw, reason) in cases {
            assert_eq!(normalise(raw), Err(reason), "{raw:?}");
        }
    }

    #[test]
    fn the_length_is_that_of_the_path_as_sent() {
        let longest = format!("/{}", "a".repeat(LENGTH_MAX - 1));
        assert!(normalise(&longest).is_ok());
        assert_eq!(normalise(&format!("{longest}a")), Err(PathError::TooLong));
        let escaped = format!("/{}", "%61".repeat(LENGTH_MAX / 2));
        assert_eq!(normalise(&escaped), Err(PathError::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_passes_has_one_reading(raw in "/?([a-c./\\\\%é\u{0}]|%2[eEfF5]|%5c|%0[0-9]){0,12}") {
            if let Ok(path) = normalise(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.contains("//") && !path.contains('\\'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!path.contains(|c: char| c.is_ascii_control()));
                prop_assert_eq!(path.matches('/').count(), raw.matches('/').count());
            }
        }

        #[test]
        fn a_path_without_escapes_stays_as_it_is(raw in "/[a-z./]{0,20}") {
            if let Ok(path) = normalise(&raw) {
                prop_assert_eq!(path, raw.as_str());
            }
        }

        #[test]
        fn the_short_way_passes_nothing_that_the_long_one_refuses(
            raw in "/?([a-c./;\\\\%é\u{0}\u{7f}]){0,12}",
        ) {
            if is_plain(&raw) {
                let decoded = decode(&raw);
                prop_assert_eq!(decoded.as_deref(), Ok(raw.as_str()));
                prop_assert_eq!(check(&raw), Ok(()));
            }
        }

        #[test]
        fn any_text_is_passed_or_refused(raw: String) {
            let _ = normalise(&raw);
        }
    }
}
