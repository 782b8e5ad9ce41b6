//! The fields that delimit an answer, normalised before they are passed on (RFC 9112 section 6.3,
//! RFC 9110 section 8.6).
//!
//! The body's end is already determined by then; recipients rely on what remains in the fields.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::http::is_chunked;

/// Keeps at most one valid `Content-Length`, and none that must not be sent.
///
/// # Errors
/// States why the answer must not be passed on.
pub(super) fn reframe(status: StatusCode, headers: &mut HeaderMap) -> Result<(), &'static str> {
    let length = length(headers)?;
    let is_coded = is_chunked(headers);
    let is_coded = is_coded.map_err(|_unknown| "a transfer coding that was not requested")?;
    let stated = headers.remove(CONTENT_LENGTH);
    let has_none = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // Chunks end the answer, regardless of any stated length.
    if let Some(length) = length.filter(|_| !is_coded && !has_none) {
        let stated = stated.filter(is_plain);
        headers.insert(CONTENT_LENGTH, stated.unwrap_or_else(|| length.into()));
    }
    Ok(())
}

/// Whether a length is written as it would be here.
fn is_plain(length: &HeaderValue) -> bool {
    let digits = length.as_bytes();
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number && (digits.len() == 1 || !digits.starts_with(b"0"))
}

/// The length on which all lines and all their members agree.
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let lines = headers.get_all(CONTENT_LENGTH).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut known = None;
    for member in members {
        let digits = member.trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
        let number: Option<u64> = number.and_then(|number| number.parse().ok());
        let number = number.ok_or("a length that is not a number")?;
        if known.replace(number).is_some_and(|known| known != number) {
            return Err("lengths that differ");
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reframed(
        status: u16,
        lines: &[(&'static str, &'static str)],
    ) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        reframe(StatusCode::from_u16(status).unwrap(), &mut headers)?;
        let lengths = headers.get_all(CONTENT_LENGTH).iter();
        let lengths: Vec<_> = lengths.map(|length| length.to_str().unwrap()).collect();
        Ok(lengths.join("|"))
    }

    const LENGTH: &str = "content-length";
    const CODING: &str = "transfer-encoding";

    #[test]
    fn lengths_that_agree_become_one() {
        for (lines, expected) in [
            (&[][..], ""),
            (&[(LENGTH, "5")], "5"),
            (&[(LENGTH, "5"), (LENGTH, "5")], "5"),
            (&[(LENGTH, "5, 05,\t5")], "5"),
            (&[(LENGTH, "05"), (LENGTH, "5")], "5"),
            (&[(LENGTH, "00")], "0"),
            (&[(LENGTH, "0")], "0"),
        ] {
            assert_eq!(reframed(200, lines).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn an_answer_whose_end_is_not_certain_is_refused() {
        for lines in [
            &[(LENGTH, "5"), (LENGTH, "6")][..],
            &[(LENGTH, "5,6")],
            &[(LENGTH, "5,")],
            &[(LENGTH, "")],
            &[(LENGTH, "+5")],
            &[(LENGTH, "5 5")],
            &[(LENGTH, "0x5")],
            &[(LENGTH, "18446744073709551616")],
            &[(CODING, "gzip")],
            &[(CODING, "gzip, chunked")],
            &[(CODING, "chunked, chunked")],
            &[(CODING, "chunked"), (CODING, "chunked")],
            &[(CODING, "identity")],
            &[(CODING, "")],
            &[(CODING, "chunked"), (LENGTH, "5, 6")],
        ] {
            for status in [200, 204, 304, 404] {
                assert!(reframed(status, lines).is_err(), "{status}: {lines:?}");
            }
        }
    }

    #[test]
    fn no_length_goes_with_chunks_or_where_there_is_no_body() {
        let chunked = [(LENGTH, "3"), (CODING, "Chunked")];
        assert_eq!(reframed(200, &chunked).as_deref(), Ok(""));
        for status in [101, 204, 304] {
            let length = [(LENGTH, "5")];
            assert_eq!(reframed(status, &length).as_deref(), Ok(""), "{status}");
        }
    }
}
