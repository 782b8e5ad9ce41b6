//! Entity tags (RFC 9110 section 8.8.3) and the condition that names them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, header};
use ring::digest::{SHA256, digest};

/// Bytes of the digest that are kept: two answers of one path that differ and share 128 bits of
/// SHA-256 are not to be expected.
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

/// Evaluates `If-None-Match` (RFC 9110 section 13.1.2): false when the client has these very bytes,
/// so that 304 will do. Comparison is weak: a proxy may have weakened the tag.
pub fn none_match(headers: &http::HeaderMap, tag: &HeaderValue) -> bool {
    let mut fields = headers.get_all(header::IF_NONE_MATCH).iter();
    !fields.any(|field| names(field.as_bytes(), tag.as_bytes()))
}

/// Whether a list of tags has the one, or is `*`. Tags made here have no comma, so a part of a
/// foreign tag between commas cannot equal one with both its quotes.
fn names(field: &[u8], tag: &[u8]) -> bool {
    let mut listed = field.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    listed.any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag)
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

    #[test]
    fn a_condition_is_met_by_any_spelling_of_the_tag() {
        let tag = entity_tag(b"[]");
        let text = tag.to_str().unwrap();
        let unmet = |field: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, field.parse().unwrap());
            none_match(&headers, &tag)
        };
        for field in [
            text.to_owned(),
            format!("W/{text}"),
            format!("\"a\", {text}"),
            format!("\"a,b\",{text} , \"c\""),
            "*".to_owned(),
        ] {
            assert!(!unmet(&field), "{field}");
        }
        for field in ["", "\"a\"", text.trim_matches('"'), "W/*", "\"*\""] {
            assert!(unmet(field), "{field}");
        }
        assert!(none_match(&HeaderMap::new(), &tag));
    }

    #[test]
    fn every_field_of_the_condition_counts() {
        let tag = entity_tag(b"[]");
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        headers.append(header::IF_NONE_MATCH, tag.clone());
        assert!(!none_match(&headers, &tag));
    }
}
