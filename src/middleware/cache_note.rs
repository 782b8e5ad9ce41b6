//! What the response cache did for one request, and how RFC 9211 says it.

use http::StatusCode;

use super::header_text::HeaderText;
use crate::cache::CacheResult;

/// What the response cache did for one request.
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

    /// Writes a `Cache-Status`.
    pub(super) fn write(self, text: &mut HeaderText) {
        match self {
            Self::Bypass => text.text("tidegate; fwd=bypass"),
            Self::Stored { ttl, .. } => text.text("tidegate; hit; ttl=").number(ttl),
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
            let mut text = HeaderText::with_capacity(64);
            note.write(&mut text);
            assert_eq!(text.value(), status);
            sfv::Parser::new(status).parse::<sfv::List>().unwrap();
        }
    }
}
