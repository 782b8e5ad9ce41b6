//! What a bucket's failure means.

use std::fmt;

/// A failure of one attempt at one bucket.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// For logs; without secrets.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for Fault {}

/// What a write that was given up has left in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing was sent, or the bucket has refused it: the reservation ends at once.
    Nothing,
    /// Perhaps its bytes, now or soon: the sweeper looks when the lease is over.
    Unknown,
}

impl Fault {
    /// A body that is complete for its bucket, and shorter than what was stored.
    pub(super) fn ended_early() -> Self {
        Self {
            kind: FaultKind::Damaged,
            detail: "the bucket has fewer bytes than were stored".to_owned(),
        }
    }

    /// An object that has more or fewer bytes than were stored.
    pub(super) fn other_size() -> Self {
        Self {
            kind: FaultKind::Damaged,
            detail: "the bucket has another number of bytes than were stored".to_owned(),
        }
    }

    /// What a write that has failed so has left in its bucket.
    pub(super) fn left(&self) -> Left {
        match self.kind {
            FaultKind::Quota | FaultKind::Refused | FaultKind::Throttled | FaultKind::Absent => {
                Left::Nothing
            }
            FaultKind::Server
            | FaultKind::Slow
            | FaultKind::Connection
            | FaultKind::Damaged
            | FaultKind::Other => Left::Unknown,
        }
    }
}

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The provider names a quota: no more writes this month.
    Quota,
    /// It refuses the credentials: an operator has to act.
    Refused,
    /// Too many requests for the moment.
    Throttled,
    /// It has an error of its own.
    Server,
    /// It did not answer in time, or too slowly.
    Slow,
    /// The connection could not be made, or was lost.
    Connection,
    /// It has no such object.
    Absent,
    /// The bytes are not those that were stored.
    Damaged,
    /// Anything else.
    Other,
}

impl FaultKind {
    /// Returns the label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Slow => "slow",
            Self::Connection => "connection",
            Self::Absent => "absent",
            Self::Damaged => "damaged",
            Self::Other => "other",
        }
    }

    /// Whether the bucket itself is at fault, so that requests should avoid it for a while.
    #[must_use]
    pub fn opens_breaker(self) -> bool {
        match self {
            Self::Refused | Self::Server | Self::Slow | Self::Connection => true,
            Self::Quota | Self::Throttled | Self::Absent | Self::Damaged | Self::Other => false,
        }
    }

    /// Whether no answer came: the next request is not likely to get one.
    pub(super) fn is_silence(self) -> bool {
        matches!(self, Self::Slow | Self::Connection)
    }
}

/// Reads a provider's refusal: the status and the body of its response.
pub(super) fn of_response(status: u16, body: &str) -> FaultKind {
    let names = |codes: &[&str]| codes.iter().any(|code| body.contains(code));
    let quota = [
        "QUOTA_EXCEEDED",
        "QuotaExceeded",
        "XMinioStorageFull",
        "InsufficientStorage",
    ];
    match status {
        _ if names(&quota) => FaultKind::Quota,
        507 => FaultKind::Quota,
        _ if names(&["SlowDown", "TooManyRequests", "RequestLimitExceeded"]) => {
            FaultKind::Throttled
        }
        429 => FaultKind::Throttled,
        401 | 403 => FaultKind::Refused,
        404 => FaultKind::Absent,
        // Bytes are asked for that the object should have.
        416 => FaultKind::Damaged,
        500..=599 => FaultKind::Server,
        _ => FaultKind::Other,
    }
}

/// Reads the status and body out of the text of an error of `object_store`, which has no other form of
/// them.
pub(super) fn of_text(text: &str) -> Option<FaultKind> {
    let (_, rest) = text.split_once("status code: ")?;
    let status = rest.get(..3)?.parse().ok()?;
    Some(of_response(status, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_that_names_a_quota_means_one() {
        for (status, body, expected) in [
            (403, "<Code>AccessDenied</Code>", FaultKind::Refused),
            (403, "QUOTA_EXCEEDED: spent", FaultKind::Quota),
            (400, "<Code>QuotaExceeded</Code>", FaultKind::Quota),
            (507, "", FaultKind::Quota),
            (429, "", FaultKind::Throttled),
            (503, "<Code>SlowDown</Code>", FaultKind::Throttled),
            (503, "", FaultKind::Server),
            (404, "", FaultKind::Absent),
            (416, "", FaultKind::Damaged),
            (400, "", FaultKind::Other),
        ] {
            assert_eq!(of_response(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_status_is_found_in_the_text_of_an_error() {
        let text = "Generic S3 error: Error performing PUT http://h/b/k in 2ms - Server returned \
                    non-2xx status code: 429 Too Many Requests: slow";
        assert_eq!(of_text(text), Some(FaultKind::Throttled));
        assert_eq!(of_text("connection refused"), None);
    }
}
