//! What the response cache did for one request, and how RFC 9211 says it.

use std::fmt::Write;

use http::{HeaderValue, StatusCode};

use crate::cache::CacheResult;

/// What the response cache did for one request.
#[derive(Debug, Clone)]
pub(super) struct CacheNote {
    pub(super) result: CacheResult,
    /// The same as `Cache-Status` has it.
    pub(super) status: HeaderValue,
}

impl CacheNote {
    /// The cache was not asked.
    pub(super) fn bypass() -> Self {
        Self {
            result: CacheResult::Bypass,
            status: HeaderValue::from_static("tidegate; fwd=bypass"),
        }
    }

    /// It had the answer; `ttl` is in seconds, below zero when it is stale.
    pub(super) fn stored(result: CacheResult, ttl: i64) -> Self {
        Self::new(result, format_args!("hit; ttl={ttl}"))
    }

    /// It had a stale one, which had to do since the nodes answered with a problem.
    pub(super) fn despite(problem: StatusCode) -> Self {
        let status = problem.as_u16();
        Self::new(
            CacheResult::StaleIfError,
            format_args!("fwd=stale; fwd-status={status}; detail=stale-if-error"),
        )
    }

    /// The nodes were asked.
    pub(super) fn forwarded(result: CacheResult, had_stale: bool, stored: bool) -> Self {
        let why = if had_stale { "stale" } else { "miss" };
        let stored = if stored { "; stored" } else { "" };
        let collapsed = match result {
            CacheResult::Collapsed => "; collapsed",
            _ => "",
        };
        Self::new(result, format_args!("fwd={why}{stored}{collapsed}"))
    }

    fn new(result: CacheResult, parameters: std::fmt::Arguments<'_>) -> Self {
        let mut text = "tidegate; ".to_owned();
        let _infallible = text.write_fmt(parameters);
        let status = HeaderValue::try_from(text);
        Self {
            result,
            status: status.unwrap_or(HeaderValue::from_static("tidegate")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_is_said_as_rfc_9211_has_it() {
        use CacheResult::{Collapsed, Hit, Miss, Stale};
        for (note, status) in [
            (CacheNote::bypass(), "tidegate; fwd=bypass"),
            (CacheNote::stored(Hit, 299), "tidegate; hit; ttl=299"),
            (CacheNote::stored(Stale, -3), "tidegate; hit; ttl=-3"),
            (
                CacheNote::despite(StatusCode::SERVICE_UNAVAILABLE),
                "tidegate; fwd=stale; fwd-status=503; detail=stale-if-error",
            ),
            (
                CacheNote::forwarded(Miss, false, true),
                "tidegate; fwd=miss; stored",
            ),
            (
                CacheNote::forwarded(Collapsed, false, true),
                "tidegate; fwd=miss; stored; collapsed",
            ),
            (
                CacheNote::forwarded(Miss, true, false),
                "tidegate; fwd=stale",
            ),
        ] {
            assert_eq!(note.status, status);
            sfv::Parser::new(status).parse::<sfv::List>().unwrap();
        }
    }
}
