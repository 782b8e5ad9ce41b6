//! `Range` as RFC 9110 section 14.2 has it: what is malformed, of another unit or of several ranges means the
//! whole object, as it does to S3. `s3s` answers 400 to all of these.
//!
//! A header that the client has signed stays as it is, since its signature would not hold otherwise.

use http::{HeaderMap, HeaderValue, Method, Request, header};

use super::guard::signed;

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
