//! `Range` as RFC 9110 section 14.2 has it: what is malformed, of another unit or of several ranges means the
//! whole object, as it does to S3. `s3s` answers 400 to all of these.
//!
//! A header that the client has signed stays as it is, since its signature would not hold otherwise.

use http::{HeaderMap, HeaderValue, Method, Request, header};
use s3s::dto::{Timestamp, TimestampFormat};

use super::conditions::time_of;
use super::guard::signed;
use crate::storage::index::Version;

/// The largest position that `s3s` reads.
const POSITION_MAX: u64 = i64::MAX as u64;

/// Replaces or removes the header of a read, if it is not signed.
pub(super) fn adapt<B>(request: &mut Request<B>) {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let signed = signed(request).unwrap_or_default();
    let is_signed = signed.split(';').any(|name| name == "range");
    if is_read && !is_signed && request.headers().contains_key(header::RANGE) {
        match asked(request.headers()) {
            Some(range) => drop(request.headers_mut().insert(header::RANGE, range)),
            None => drop(request.headers_mut().remove(header::RANGE)),
        }
    }
}

/// Whether a range is one of this version: with `If-Range`, only if that is its `ETag`, or its date to the
/// second (RFC 9110 section 13.1.5). A download that is resumed would else be torn.
pub(super) fn applies(headers: &HeaderMap, version: &Version) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.to_str().is_ok_and(|text| names(text.trim(), version)),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a validator is that of a version. Weak ones are of none.
fn names(validator: &str, version: &Version) -> bool {
    let quoted = validator.strip_prefix('"');
    match quoted.and_then(|rest| rest.strip_suffix('"')) {
        Some(etag) => etag == version.etag,
        None => {
            let modified = Timestamp::from(time_of(version.modified));
            let date = Timestamp::parse(TimestampFormat::HttpDate, validator);
            date.is_ok_and(|date| date == modified)
        }
    }
}

/// The one range of bytes that is asked for, none for all.
fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let range = understood(value.to_str().ok()?)?;
    HeaderValue::try_from(range).ok()
}

fn understood(text: &str) -> Option<String> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    match (first, last) {
        ("", last) => Some(format!("bytes=-{}", position(last)?)),
        (first, "") => Some(format!("bytes={}-", position(first)?)),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then(|| format!("bytes={first}-{last}"))
        }
    }
}

/// A position, however many digits it has.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let position = text.parse().unwrap_or(POSITION_MAX);
    is_number.then_some(position.min(POSITION_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::index::Meta;

    #[test]
    fn a_range_that_is_none_means_the_whole_object() {
        for (text, expected) in [
            ("bytes=0-9", Some("bytes=0-9")),
            ("Bytes = 5-", Some("bytes=5-")),
            ("bytes=-3", Some("bytes=-3")),
            (
                "bytes=0-99999999999999999999",
                Some("bytes=0-9223372036854775807"),
            ),
            ("bytes=0-1,4-5", None),
            ("bytes=9-0", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("lines=0-9", None),
            ("0-9", None),
        ] {
            assert_eq!(understood(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_range_is_one_of_the_version_that_if_range_names() {
        let version = Version {
            id: String::new(),
            size: 1,
            etag: "abc-2".to_owned(),
            meta: Meta::default(),
            modified: 1_445_412_480,
            blobs: Vec::new(),
        };
        let applies = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(header::IF_RANGE, HeaderValue::from_str(text).unwrap());
            }
            super::applies(&headers, &version)
        };
        assert!(applies(&[]));
        assert!(applies(&["\"abc-2\""]));
        assert!(applies(&["Wed, 21 Oct 2015 07:28:00 GMT"]));
        for text in [
            "\"abc-1\"",
            "W/\"abc-2\"",
            "abc-2",
            "\"",
            "Wed, 21 Oct 2015 07:28:01 GMT",
            "Wed, 21 Oct 2015 07:27:59 GMT",
            "",
        ] {
            assert!(!applies(&[text]), "{text}");
        }
        assert!(!applies(&["\"abc-2\"", "\"abc-2\""]));
    }

    #[test]
    fn a_header_that_is_signed_stays_as_it_is() {
        let range = |signed: &str| {
            let uri = format!("/b/k?X-Amz-SignedHeaders={signed}");
            let request = Request::get(uri).header("range", "lines=0-9");
            let mut request = request.body(()).unwrap();
            adapt(&mut request);
            request.headers().contains_key("range")
        };
        assert!(!range("host"));
        assert!(range("host%3Brange"));
    }
}
