//! Which answers may be compressed, by their heads. Pure.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};

/// Fields with a digest of the bytes as they are.
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Media types of text that do not begin with `text/` nor end in `+json` or `+xml`.
const TEXTUAL: [&str; 15] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/ld+json",
    "application/sql",
    "application/toml",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
];

/// Whether an answer's bytes may be compressed, its length aside.
pub(super) fn is_eligible(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_content = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    has_content && may_be_transformed(headers) && headers.get(CONTENT_TYPE).is_some_and(is_text)
}

/// Whether nothing in a head forbids another coding.
pub(super) fn may_be_transformed(headers: &HeaderMap) -> bool {
    let has_digest = DIGESTS.iter().any(|name| headers.contains_key(*name));
    !has_digest
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !says_no_transform(headers)
}

fn says_no_transform(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    directives.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether a media type is of text; images but SVG, audio, video, fonts and archives are compressed already.
pub(super) fn is_text(media_type: &HeaderValue) -> bool {
    let Ok(media_type) = media_type.to_str() else {
        return false;
    };
    let name = media_type.split(';').next().unwrap_or_default().trim();
    let is = |other: &&str| name.eq_ignore_ascii_case(other);
    let begins = |start: &str| {
        let head = name.get(..start.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let ends = |end: &str| {
        let tail = name
            .len()
            .checked_sub(end.len())
            .and_then(|at| name.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    !begins("application/grpc")
        && (begins("text/") || ends("+json") || ends("+xml") || TEXTUAL.iter().any(is))
}

/// Whether another site may have made the browser send the request with the user's cookies: it could learn
/// secrets of the answer from its compressed length (BREACH).
pub(super) fn is_guessable(request: &HeaderMap) -> bool {
    let site = request.get("sec-fetch-site");
    let is_cross = site.is_some_and(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site"));
    is_cross && request.contains_key(COOKIE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn text_is_compressed_and_what_is_compressed_already_is_not() {
        for text in [
            "text/html; charset=utf-8",
            "TEXT/PLAIN",
            "text/event-stream",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/atom+xml; x=y",
            "application/javascript",
        ] {
            assert!(is_text(&HeaderValue::from_static(text)), "{text}");
        }
        for other in [
            "image/png",
            "audio/ogg",
            "video/mp4",
            "font/woff2",
            "application/zip",
            "application/octet-stream",
            "application/pdf",
            "application/grpc",
            "application/grpc-web+json",
            "application/unknown",
            "json",
            "",
        ] {
            assert!(!is_text(&HeaderValue::from_static(other)), "{other}");
        }
    }

    #[test]
    fn an_answer_that_is_not_whole_or_must_not_be_touched_is_left_alone() {
        let json = ("content-type", "application/json");
        let ok = StatusCode::OK;
        assert!(is_eligible(ok, &fields(&[json])));
        assert!(is_eligible(StatusCode::NOT_FOUND, &fields(&[json])));
        assert!(!is_eligible(ok, &fields(&[])), "unknown");
        for status in [101, 204, 205, 206, 304] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!is_eligible(status, &fields(&[json])), "{status}");
        }
        for forbidding in [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
            ("content-range", "bytes 0-1/2"),
            ("cache-control", "public, max-age=60, No-Transform"),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
        ] {
            assert!(
                !is_eligible(ok, &fields(&[json, forbidding])),
                "{forbidding:?}"
            );
        }
    }

    #[test]
    fn only_another_sites_request_with_cookies_is_guessable() {
        let cross = ("sec-fetch-site", "cross-site");
        let cookie = ("cookie", "a=1");
        assert!(is_guessable(&fields(&[cross, cookie])));
        assert!(!is_guessable(&fields(&[cross])) && !is_guessable(&fields(&[cookie])));
        assert!(!is_guessable(&fields(&[
            ("sec-fetch-site", "same-site"),
            cookie
        ])));
    }
}
