//! The conditions of a request, evaluated on a stored answer (RFC 9111 section 4.3.2).

use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether the client already has an answer, so that 304 suffices.
///
/// `If-None-Match` is compared weakly and comes before `If-Modified-Since`. An answer without
/// `Last-Modified` is as old as its `Date`.
pub fn not_modified(request: &HeaderMap, answer: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return lists_tag(request, answer.get(ETAG));
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(date);
    let made = answer
        .get(LAST_MODIFIED)
        .or_else(|| answer.get(DATE))
        .and_then(date);
    matches!((made, since), (Some(made), Some(since)) if made <= since)
}

/// Whether `If-None-Match` lists the tag of an answer, compared weakly, or is `*` (RFC 9110 section 13.1.2).
pub fn lists_tag(request: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let tag = tag.map(|tag| opaque(tag.as_bytes()));
    let mut lines = request.get_all(IF_NONE_MATCH).iter();
    lines.any(|line| {
        let mut tags = tags(line.as_bytes());
        tags.any(|listed| listed == b"*" || tag == Some(opaque(listed)))
    })
}

/// Whether the range of a request is of this very answer: it has no `If-Range`, or one that names the
/// answer's strong tag or its date (RFC 9110 section 13.1.5).
pub(super) fn range_applies(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    let equals = |name: HeaderName| answer.get(name) == Some(condition);
    match condition.as_bytes() {
        [b'"', ..] => equals(ETAG),
        [b'W', ..] if date(condition).is_none() => false,
        _ => equals(LAST_MODIFIED),
    }
}

/// The tags of a list; a comma inside quotes separates nothing.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let separates = move |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    line.split(separates).map(<[u8]>::trim_ascii)
}

/// A tag without its weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const LATE: &str = "Thu, 02 Jan 2020 00:00:00 GMT";

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_listed_tag_is_not_modified_and_comes_before_a_date() {
        let answer = fields(&[("etag", "W/\"a,b\""), ("last-modified", LATE)]);
        for held in ["\"a,b\"", "W/\"a,b\"", "\"x\" , W/\"a,b\"", "*"] {
            assert!(
                not_modified(&fields(&[("if-none-match", held)]), &answer),
                "{held}"
            );
        }
        for other in ["\"a\"", "b\"", "", "\"a,b"] {
            let request = fields(&[("if-none-match", other), ("if-modified-since", LATE)]);
            assert!(!not_modified(&request, &answer), "{other}");
        }
        let untagged = fields(&[("last-modified", EARLY)]);
        assert!(!not_modified(
            &fields(&[("if-none-match", "\"a\"")]),
            &untagged
        ));
    }

    #[test]
    fn a_tag_is_listed_in_any_line_and_spelling_and_only_as_a_whole() {
        let tag = HeaderValue::from_static("\"47DEQ_-A\"");
        let lists = |field: &str| lists_tag(&fields(&[("if-none-match", field)]), Some(&tag));
        for field in [
            "\"47DEQ_-A\"",
            "W/\"47DEQ_-A\"",
            "\"a,b\",\"47DEQ_-A\" , \"c\"",
            "*",
        ] {
            assert!(lists(field), "{field}");
        }
        for field in ["", "\"a\"", "47DEQ_-A", "W/*", "\"*\""] {
            assert!(!lists(field), "{field}");
        }
        let lines = [
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"47DEQ_-A\""),
        ];
        assert!(lists_tag(&fields(&lines), Some(&tag)));
        assert!(!lists_tag(&HeaderMap::new(), Some(&tag)));
    }

    #[test]
    fn a_date_counts_from_the_last_modification() {
        let since = |date| fields(&[("if-modified-since", date)]);
        let answer = |date| fields(&[("last-modified", date)]);
        assert!(not_modified(&since(LATE), &answer(EARLY)));
        assert!(not_modified(
            &since("Thursday, 02-Jan-20 00:00:00 GMT"),
            &answer(LATE)
        ));
        assert!(!not_modified(&since(EARLY), &answer(LATE)));
        assert!(!not_modified(&since("soon"), &answer(EARLY)));
        assert!(not_modified(&since(LATE), &fields(&[("date", LATE)])));
    }

    #[test]
    fn a_range_is_of_the_answer_that_if_range_names() {
        let answer = fields(&[("etag", "\"a\""), ("last-modified", EARLY)]);
        let applies = |value| range_applies(&fields(&[("if-range", value)]), &answer);
        assert!(range_applies(&HeaderMap::new(), &answer));
        assert!(applies("\"a\"") && applies(EARLY));
        assert!(!applies("\"b\"") && !applies("W/\"a\"") && !applies(LATE));
    }
}
