//! Validation of a stored answer with the application, and what its 304 changes (RFC 9111 section 4.3).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName};

/// Fields that the gateway sets anew on each answer, or that belong to one transfer or one client.
static NOT_KEPT: [HeaderName; 9] = [
    AGE,
    CONTENT_LENGTH,
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("consistency-status"),
    HeaderName::from_static("x-route-primary"),
    HeaderName::from_static("x-consistency-token"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
];

/// Fields that describe the stored bytes, which a 304 does not change. The tag is among them: the request
/// named one alone, which the 304 confirms.
static OF_THE_BODY: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
];

/// Whether a field of an answer is stored with it.
pub fn is_kept(name: &HeaderName) -> bool {
    !NOT_KEPT.contains(name)
}

/// Makes a request ask whether a stored answer still holds, in place of its own conditions; false if the
/// answer has nothing to ask by.
pub fn add_validators(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    let (tag, modified) = (stored.get(ETAG), stored.get(LAST_MODIFIED));
    if tag.is_none() && modified.is_none() {
        return false;
    }
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
        request.remove(name);
    }
    if let Some(tag) = tag {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = modified {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    true
}

/// Returns the stored fields as a 304 leaves them (section 3.2).
pub fn update(stored: &HeaderMap, said: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    let changed = said
        .keys()
        .filter(|name| is_kept(name) && !OF_THE_BODY.contains(name));
    for name in changed {
        fields.remove(name);
        for value in said.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_304_replaces_fields_but_those_of_the_stored_bytes() {
        let stored = fields(&[
            ("etag", "\"a\""),
            ("content-encoding", "gzip"),
            ("x", "1"),
            ("x", "2"),
            ("y", "1"),
        ]);
        let said = fields(&[
            ("etag", "\"b\""),
            ("content-encoding", "br"),
            ("content-length", "7"),
            ("age", "7"),
            ("x", "3"),
            ("z", "4"),
            ("z", "5"),
        ]);
        let expected = fields(&[
            ("etag", "\"a\""),
            ("content-encoding", "gzip"),
            ("x", "3"),
            ("y", "1"),
            ("z", "4"),
            ("z", "5"),
        ]);
        assert_eq!(update(&stored, &said), expected);
    }

    #[test]
    fn validation_asks_by_what_is_stored_instead_of_what_the_client_has() {
        let mut request = fields(&[("if-none-match", "\"client\""), ("if-range", "\"client\"")]);
        assert!(!add_validators(&mut request, &fields(&[("x", "1")])));
        assert_eq!(request.len(), 2);
        assert!(add_validators(
            &mut request,
            &fields(&[("etag", "W/\"a\"")])
        ));
        assert_eq!(request, fields(&[("if-none-match", "W/\"a\"")]));
    }
}
