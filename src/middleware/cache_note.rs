//! What the response cache did for one request, and how RFC 9211 says it.

use std::fmt;

use http::StatusCode;

use crate::cache::CacheResult;

/// What the response cache did for one request. `Display` writes a `Cache-Status`.
#[derive(Debug, Clone, Copy)]
pub(super) enum CacheNote {
    /// It was not asked.
    Bypass,
    /// It had the answer.
    Stored {
        result: CacheResult,
        /// Seconds of freshness left, below zero when it is stale.
        ttl: i64,
    },
    /// It had a stale one, which had to do since the nodes answered with a problem.
    Despite(StatusCode),
    /// The nodes were asked.
    Forwarded {
        result: CacheResult,
        had_stale: bool,
        stored: bool,
    },
}

impl CacheNote {
    pub(super) fn result(self) -> CacheResult {
        match self {
            Self::Bypass => CacheResult::Bypass,
            Self::Stored { result, .. } | Self::Forwarded { result, .. } => result,
            Self::Despite(_) => CacheResult::StaleIfError,
        }
    }
}

impl fmt::Display for CacheNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bypass => f.write_str("tidegate; fwd=bypass"),
            Self::Stored { ttl, .. } => write!(f, "tidegate; hit; ttl={ttl}"),
            Self::Despite(status) => {
                let status = status.as_u16();
                write!(
                    f,
                    "tidegate; fwd=stale; fwd-status={status}; detail=stale-if-error"
                )
            }
            Self::Forwarded {
                result,
                had_stale,
                stored,
            } => {
                f.write_str("tidegate; fwd=")?;
                f.write_str(if *had_stale { "stale" } else { "miss" })?;
                f.write_str(if *stored { "; stored" } else { "" })?;
                let collapsed = *result == CacheResult::Collapsed;
                f.write_str(if collapsed { "; collapsed" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_said_as_rfc_9211_has_it() {
        let stored = |result, ttl| CacheNote::Stored { result, ttl };
        let forwarded = |result, had_stale, stored| CacheNote::Forwarded {
            result,
            had_stale,
            stored,
        };
        let kept = "tidegate; fwd=stale; fwd-status=503; detail=stale-if-error";
        for (note, status) in [
            (CacheNote::Bypass, "tidegate; fwd=bypass"),
            (stored(CacheResult::Hit, 299), "tidegate; hit; ttl=299"),
            (stored(CacheResult::Stale, -3), "tidegate; hit; ttl=-3"),
            (CacheNote::Despite(StatusCode::SERVICE_UNAVAILABLE), kept),
            (
                forwarded(CacheResult::Miss, false, true),
                "tidegate; fwd=miss; stored",
            ),
            (
                forwarded(CacheResult::Collapsed, false, true),
                "tidegate; fwd=miss; stored; collapsed",
            ),
            (
                forwarded(CacheResult::Miss, true, false),
                "tidegate; fwd=stale",
            ),
        ] {
            assert_eq!(note.to_string(), status);
            sfv::Parser::new(status).parse::<sfv::List>().unwrap();
        }
    }
}
