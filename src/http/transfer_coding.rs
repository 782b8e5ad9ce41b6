//! The transfer coding of a message (RFC 9112 section 6.1).

use http::HeaderMap;
use http::header::TRANSFER_ENCODING;

/// A body in a transfer coding that is not understood here: what is read of it is not what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body has a transfer coding other than `chunked`")]
pub struct UnknownCoding;

/// Returns whether a message comes in chunks.
///
/// # Errors
/// If there is any other transfer coding, or more than one: it would have to be requested with `TE`, which
/// is neither sent nor honoured.
pub fn is_chunked(headers: &HeaderMap) -> Result<bool, UnknownCoding> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(line) = lines.next() else {
        return Ok(false);
    };
    let coding = line.as_bytes().trim_ascii();
    match lines.next() {
        None if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(UnknownCoding),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn chunks_are_the_only_coding() {
        let coded = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(line));
            }
            is_chunked(&headers)
        };
        assert_eq!(coded(&[]), Ok(false));
        assert_eq!(coded(&["chunked"]), Ok(true));
        assert_eq!(coded(&[" Chunked\t"]), Ok(true));
        for lines in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["chunked", "chunked"],
            &["chunked, chunked"],
            &["chunked;q=1"],
            &["identity"],
            &["xchunked"],
            &[""],
        ] {
            assert_eq!(coded(lines), Err(UnknownCoding), "{lines:?}");
        }
    }
}
