//! How a bucket or a gateway is shown to clients that choose among them.

use std::time::Duration;

use serde::Serialize;

use super::attempts::Outcomes;

/// Probes in a row without an answer after which a bucket is offline.
const SILENT_PROBES: u32 = 3;

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::storage) enum BucketStatus {
    /// It works.
    Online,
    /// It is slower than a repository wants, or fails too often.
    Disconnected,
    /// It does not answer.
    Offline,
}

impl BucketStatus {
    /// Returns its name.
    #[must_use]
    pub(in crate::storage) fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Disconnected => "DISCONNECTED",
            Self::Offline => "OFFLINE",
        }
    }
}

/// Judges a bucket by its last probes, its last minute, and the shortest `read_slo` of its repositories.
pub(in crate::storage) fn status(
    silent_probes: u32,
    last_minute: Outcomes,
    slow: Duration,
    read_slo: Option<Duration>,
) -> BucketStatus {
    if silent_probes >= SILENT_PROBES {
        return BucketStatus::Offline;
    }
    match last_minute.are_bad() || read_slo.is_some_and(|slo| slow > slo) {
        true => BucketStatus::Disconnected,
        false => BucketStatus::Online,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_worse_than_errors_and_slowness() {
        let ms = Duration::from_millis;
        let outcomes = |requests, errors| Outcomes { requests, errors };
        for (silent, last_minute, slow, slo, expected) in [
            (0, outcomes(100, 0), ms(10), None, BucketStatus::Online),
            (
                2,
                outcomes(100, 4),
                ms(10),
                Some(ms(50)),
                BucketStatus::Online,
            ),
            (
                0,
                outcomes(100, 5),
                ms(10),
                None,
                BucketStatus::Disconnected,
            ),
            (
                0,
                outcomes(0, 0),
                ms(51),
                Some(ms(50)),
                BucketStatus::Disconnected,
            ),
            (3, outcomes(100, 0), ms(10), None, BucketStatus::Offline),
        ] {
            assert_eq!(status(silent, last_minute, slow, slo), expected);
        }
    }
}
