//! Conditions of requests, and ranges: pure.

use std::ops::Range;

use http::{HeaderMap, header};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};

use super::preconditions::tags;
use crate::storage::index::{Conditions, Version};

/// The conditions of a read.
#[derive(Default)]
pub(super) struct ReadConditions<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

impl ReadConditions<'_> {
    /// Judges a version by RFC 9110 section 13.2.2: those with `ETags` come before those with dates.
    pub(super) fn check(&self, version: &Version) -> S3Result<()> {
        let modified = Timestamp::from(time_of(version.modified));
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, &version.etag) => {
                return Err(s3_error!(PreconditionFailed));
            }
            (None, Some(date)) if modified > *date => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition, &version.etag) => Err(not_modified(version)),
            (None, Some(date)) if modified <= *date => Err(not_modified(version)),
            _ => Ok(()),
        }
    }
}

fn not_modified(version: &Version) -> S3Error {
    let mut answer = s3_error!(NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    if let Ok(etag) = etag(&version.etag).to_http_header() {
        headers.insert(header::ETAG, etag);
    }
    answer.set_headers(headers);
    answer
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    let Some(condition) = condition.as_etag() else {
        return true;
    };
    // `s3s` takes a list for one tag, without its first quote and its last.
    let listed = format!("\"{}\"", condition.value());
    tags(&listed).is_some_and(|tags| tags.contains(&etag))
}

/// The conditions of a write, as the index judges them.
pub(super) fn of_write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> Conditions {
    let text = |condition: &ETagCondition| match condition.as_etag() {
        Some(etag) => etag.value().to_owned(),
        None => "*".to_owned(),
    };
    Conditions {
        if_match: if_match.map(text),
        if_none_match: if_none_match.map(text),
    }
}

/// `If-Match` and `If-None-Match` of a write, for operations of which `s3s` does not know them.
pub(super) fn of_headers(
    headers: &HeaderMap,
) -> S3Result<(Option<ETagCondition>, Option<ETagCondition>)> {
    let parsed = |name: header::HeaderName| {
        let mut values = headers.get_all(&name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(s3_error!(InvalidArgument, "{name} is there twice"));
        }
        let condition = ETagCondition::parse_http_header(value.as_bytes());
        condition
            .map(Some)
            .map_err(|error| s3_error!(InvalidArgument, "{name}: {error}"))
    };
    Ok((parsed(header::IF_MATCH)?, parsed(header::IF_NONE_MATCH)?))
}

/// The bytes that a range means.
pub(super) fn bytes_of(range: Option<&s3s::dto::Range>, size: u64) -> S3Result<Range<u64>> {
    match range {
        None => Ok(0..size),
        // Of an empty object there are no last bytes.
        Some(_) if size == 0 => Err(s3_error!(InvalidRange)),
        Some(range) => range.check(size).map_err(S3Error::from),
    }
}

/// Seconds since 1970.
pub(super) fn seconds_of(time: &Timestamp) -> i64 {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = String::from_utf8(text).unwrap_or_default();
    let whole = text.split('.').next().unwrap_or_default();
    // A time that cannot be written is that of no object.
    written.ok().and_then(|()| whole.parse().ok()).unwrap_or(-1)
}

/// A time from seconds since 1970.
pub(super) fn time_of(seconds: i64) -> std::time::SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

/// An `ETag` as it is sent.
pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_found_in_a_list() {
        let is_match = |text: &str| {
            let condition = ETagCondition::parse_http_header(text.as_bytes()).unwrap();
            matches(&condition, "b")
        };
        for text in ["*", "b", "\"b\"", "\"a\", \"b\"", "W/\"b\",\"c\""] {
            assert!(is_match(text), "{text}");
        }
        for text in ["a", "\"a, b\"", "\"a\" \"b\"", "\"a\", \"c\""] {
            assert!(!is_match(text), "{text}");
        }
    }
}
