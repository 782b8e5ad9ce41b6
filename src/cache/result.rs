//! What the cache did for a request.

/// The closed set of `result` in `tidegate_cache_requests_total` and of `cache` in access lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// Answered from the cache, fresh.
    Hit,
    /// Answered from the cache at once, stale but within `stale-while-revalidate`.
    Stale,
    /// Answered from the cache, stale, because no node could answer.
    StaleIfError,
    /// A node was contacted for this request.
    Miss,
    /// A node was contacted once for this request and others.
    Collapsed,
    /// Shared caches may store the path, but this request may not be answered from one.
    Bypass,
}

impl CacheResult {
    /// Every result.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Stale,
        Self::StaleIfError,
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
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}
