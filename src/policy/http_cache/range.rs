//! A part of a stored answer (RFC 9110 section 14).

use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, StatusCode};
use std::ops::Range;

use super::conditions::range_applies;

/// Which part of an answer a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// All of it.
    Whole,
    /// These bytes, as 206.
    Part(Range<usize>),
    /// None: 416.
    Unsatisfiable,
}

/// Finds the part of a stored 200 of so many bytes. Several ranges at once are not cut out: the whole
/// answer is always right.
pub fn slice(request: &HeaderMap, status: StatusCode, answer: &HeaderMap, length: usize) -> Slice {
    let is_whole = status == StatusCode::OK && !answer.contains_key(CONTENT_RANGE);
    if !is_whole || !range_applies(request, answer) {
        return Slice::Whole;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Slice::Whole;
    };
    let Some((first, last)) = line.to_str().ok().and_then(parse) else {
        return Slice::Whole;
    };
    let part = match (first, last) {
        (Some(first), last) => {
            first..last.map_or(length, |last| last.saturating_add(1).min(length))
        }
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (None, None) => return Slice::Whole,
    };
    match part.start < part.end {
        true => Slice::Part(part),
        false => Slice::Unsatisfiable,
    }
}

/// `bytes=first-last`, either of which may be absent; none if it is anything else.
fn parse(text: &str) -> Option<(Option<usize>, Option<usize>)> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(digits.parse().unwrap_or(usize::MAX)))
        }
        _ => None,
    };
    let (first, last) = (number(first)?, number(last)?);
    let backwards = matches!((first, last), (Some(first), Some(last)) if last < first);
    (unit.trim().eq_ignore_ascii_case("bytes") && !backwards).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, length: usize) -> Slice {
        let mut request = HeaderMap::new();
        request.insert(RANGE, range.parse().unwrap());
        slice(&request, StatusCode::OK, &HeaderMap::new(), length)
    }

    #[test]
    fn one_range_is_cut_out() {
        assert_eq!(of("bytes=0-1", 10), Slice::Part(0..2));
        assert_eq!(of("Bytes=1-", 10), Slice::Part(1..10));
        assert_eq!(of("bytes=-3", 10), Slice::Part(7..10));
        assert_eq!(of("bytes=-30", 10), Slice::Part(0..10));
        assert_eq!(
            of("bytes=9-99999999999999999999999", 10),
            Slice::Part(9..10)
        );
    }

    #[test]
    fn a_range_beyond_the_end_cannot_be_satisfied() {
        assert_eq!(of("bytes=10-", 10), Slice::Unsatisfiable);
        assert_eq!(of("bytes=-0", 10), Slice::Unsatisfiable);
        assert_eq!(of("bytes=0-", 0), Slice::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_gets_the_whole_answer() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=5-4",
            "rows=0-1",
            "bytes",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(of(range, 10), Slice::Whole, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside_of_the_answer(range in "(bytes=)?[0-9, -]{0,24}", length in 0_usize..100) {
            if let Slice::Part(part) = of(&range, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
