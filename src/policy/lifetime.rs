//! For how long shared caches may use an answer, as a policy row declares it.

use std::time::Duration;

/// Holds the lifetimes of a `Cache-Control` value. Both stale ones count from the end of `fresh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// `s-maxage`, else `max-age`: the age up to which an answer is used without asking.
    pub fresh: Duration,
    /// `stale-while-revalidate` (RFC 5861): how much longer while a newer one is being fetched.
    pub while_revalidate: Duration,
    /// `stale-if-error` (RFC 5861): how much longer when none can be had.
    pub if_error: Duration,
}

impl Lifetime {
    /// Returns the age at which an answer is of no use any more.
    pub fn total(&self) -> Duration {
        self.fresh + self.while_revalidate.max(self.if_error)
    }
}
