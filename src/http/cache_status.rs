//! The result of the response cache for one request, and its form in RFC 9211.

use http::StatusCode;

use super::header_text::HeaderText;
use tidegate_telemetry::names;

/// The result of the response cache for one request.
#[derive(Debug, Clone, Copy)]
pub enum CacheStatus {
    /// It was not used.
    Bypass,
    /// It had the answer.
    Stored {
        /// Whether it was fresh.
        result: CacheResult,
        /// Seconds of freshness left, below zero if it is stale.
        ttl: i64,
    },
    /// It had a stale answer, which is served because the nodes answered with a problem.
    Despite(StatusCode),
    /// It had a stale answer, which the application has confirmed.
    Validated,
    /// The nodes were contacted.
    Forwarded {
        /// For this request or for another.
        result: CacheResult,
        /// Whether there was a stale answer.
        had_stale: bool,
        /// Whether the new answer is kept.
        stored: bool,
    },
}

impl CacheStatus {
    /// Returns the result as counted in metrics and logs.
    #[must_use]
    pub fn result(self) -> CacheResult {
        match self {
            Self::Bypass => CacheResult::Bypass,
            Self::Stored { result, .. } | Self::Forwarded { result, .. } => result,
            Self::Validated => CacheResult::Revalidated,
            Self::Despite(_) => CacheResult::StaleIfError,
        }
    }

    /// Writes a `Cache-Status`.
    pub(super) fn write(self, text: &mut HeaderText) {
        match self {
            Self::Bypass => text.text("tidegate; fwd=bypass"),
            Self::Stored { ttl, .. } => text.text("tidegate; hit; ttl=").number(ttl),
            Self::Validated => text.text("tidegate; fwd=stale; fwd-status=304; stored"),
            Self::Despite(status) => text
                .text("tidegate; fwd=stale; fwd-status=")
                .number(status.as_u16())
                .text("; detail=stale-if-error"),
            Self::Forwarded {
                result,
                had_stale,
                stored,
            } => text
                .text("tidegate; fwd=")
                .text(if had_stale { "stale" } else { "miss" })
                .text(if stored { "; stored" } else { "" })
                .text(match result {
                    CacheResult::Collapsed => "; collapsed",
                    _ => "",
                }),
        };
    }
}

/// The closed set of `result` in `tidegate_cache_requests_total` and of `cache` in access lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// Answered from the cache, fresh.
    Hit,
    /// Answered from the cache at once, stale but within `stale-while-revalidate`.
    Stale,
    /// Answered from the cache, stale, because no node could answer.
    StaleIfError,
    /// Answered from the cache, after the application has confirmed the answer.
    Revalidated,
    /// A node was contacted for this request.
    Miss,
    /// A node was contacted once for this request and others.
    Collapsed,
    /// Shared caches may store the path, but this request may not be answered from one.
    Bypass,
}

impl CacheResult {
    /// Every result.
    pub const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::StaleIfError,
        Self::Revalidated,
        Self::Miss,
        Self::Collapsed,
        Self::Bypass,
    ];

    /// Returns the label of logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleIfError => "stale-if-error",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}

/// Counts the results of the response cache.
pub struct CacheCounters([metrics::Counter; CacheResult::ALL.len()]);

impl Default for CacheCounters {
    fn default() -> Self {
        let counter = |result: CacheResult| metrics::counter!(names::CACHE_REQUESTS, "result" => result.as_str());
        Self(CacheResult::ALL.map(counter))
    }
}

impl CacheCounters {
    /// Counts a request.
    pub fn count(&self, result: CacheResult) {
        let index = CacheResult::ALL.iter().position(|known| *known == result);
        if let Some(counter) = index.and_then(|index| self.0.get(index)) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_said_as_rfc_9211_has_it() {
        let stored = |result, ttl| CacheStatus::Stored { result, ttl };
        let forwarded = |result, had_stale, stored| CacheStatus::Forwarded {
            result,
            had_stale,
            stored,
        };
        let kept = "tidegate; fwd=stale; fwd-status=503; detail=stale-if-error";
        for (cache, status) in [
            (CacheStatus::Bypass, "tidegate; fwd=bypass"),
            (stored(CacheResult::Hit, 299), "tidegate; hit; ttl=299"),
            (stored(CacheResult::Stale, -3), "tidegate; hit; ttl=-3"),
            (CacheStatus::Despite(StatusCode::SERVICE_UNAVAILABLE), kept),
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
            let mut text = HeaderText::with_capacity(64);
            cache.write(&mut text);
            let place = text.end();
            assert_eq!(text.values().at(place), status);
            sfv::Parser::new(status).parse::<sfv::List>().unwrap();
        }
    }
}
