//! Entity tags (RFC 9110 section 8.8.3) and the conditions of a request (section 13).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, header};
use ring::digest::{SHA256, digest};

/// Bytes of the digest that are used: different answers of one path are not expected to share 128
/// bits of SHA-256.
const DIGEST_BYTES: usize = 16;

/// Makes the strong tag of a body: equal bytes give equal tags in every gateway and at all times.
pub fn entity_tag(body: &[u8]) -> HeaderValue {
    let digest = digest(&SHA256, body);
    let text = format!(
        "\"{}\"",
        URL_SAFE_NO_PAD.encode(&digest.as_ref()[..DIGEST_BYTES])
    );
    HeaderValue::from_str(&text).expect("base64 between quotes is a valid header value")
}

/// Returns whether a request has `If-Match` or `If-Unmodified-Since`.
pub fn has_precondition(headers: &http::HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_UNMODIFIED_SINCE)
}

/// Evaluates `If-Match` and, in its absence, `If-Unmodified-Since` (RFC 9110 section 13.2.2): false
/// when the precondition fails, because the representation differs from the one that the client
/// knows.
///
/// Tags are compared strongly. A date that cannot be parsed is ignored, and so is the field if the
/// representation has no date.
pub fn precondition_holds(
    headers: &http::HeaderMap,
    tag: &HeaderValue,
    modified: Option<&HeaderValue>,
) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        let listed = headers.get_all(header::IF_MATCH).iter();
        let mut listed = listed.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
        return listed.any(|one| [&b"*"[..], tag.as_bytes()].contains(&one.trim_ascii()));
    }
    let date = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let since = headers.get(header::IF_UNMODIFIED_SINCE).and_then(date);
    let later = |since| {
        modified
            .and_then(date)
            .is_some_and(|modified| modified > since)
    };
    !since.is_some_and(later)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_tag_is_of_the_bytes_and_nothing_else() {
        assert_eq!(entity_tag(b"[]"), entity_tag(b"[]"));
        assert_ne!(entity_tag(b"[]"), entity_tag(b"{}"));
        let tag = entity_tag(b"");
        assert_eq!(tag, "\"47DEQpj8HBSa-_TImW-5JA\"");
    }

    fn headers(lines: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn if_match_wants_the_very_bytes() {
        let tag = entity_tag(b"[]");
        let text = tag.to_str().unwrap();
        let holds = |lines: &[_]| precondition_holds(&headers(lines), &tag, None);
        for held in [text.to_owned(), "*".to_owned(), format!("\"a\" ,{text}")] {
            assert!(holds(&[("if-match", held)]));
        }
        for failed in ["\"a\"".to_owned(), format!("W/{text}"), String::new()] {
            assert!(!holds(&[("if-match", failed)]));
        }
        assert!(holds(&[
            ("if-match", "\"a\"".to_owned()),
            ("if-match", text.to_owned())
        ]));
        assert!(holds(&[]));
    }

    #[test]
    fn if_unmodified_since_counts_without_if_match_and_where_there_is_a_date() {
        let (earlier, later) = (
            "Thu, 01 Jan 1970 01:00:00 GMT",
            "Fri, 02 Jan 1970 01:00:00 GMT",
        );
        let tag = entity_tag(b"[]");
        let modified = |date| Some(HeaderValue::from_static(date));
        for (since, modified, expected) in [
            (earlier, modified(later), false),
            (later, modified(later), true),
            (later, modified(earlier), true),
            (earlier, None, true),
            ("yesterday", modified(later), true),
            (earlier, modified("yesterday"), true),
        ] {
            let mut headers = headers(&[("if-unmodified-since", since.to_owned())]);
            let holds = precondition_holds(&headers, &tag, modified.as_ref());
            assert_eq!(holds, expected, "{since}: {modified:?}");
            headers.insert("if-match", tag.clone());
            assert!(precondition_holds(&headers, &tag, modified.as_ref()));
        }
    }
}
