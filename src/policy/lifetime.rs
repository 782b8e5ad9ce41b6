//! How long shared caches may use an answer, as declared by a policy row.

use std::time::Duration;

/// Holds the lifetimes of a `Cache-Control` value. Both stale ones count from the end of `fresh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// `s-maxage`, else `max-age`: the age up to which an answer is used without revalidation.
    pub fresh: Duration,
    /// `stale-while-revalidate` (RFC 5861): how much longer it is used while a newer one is being
    /// fetched.
    pub while_revalidate: Duration,
    /// `stale-if-error` (RFC 5861): how much longer it is used if no newer one can be obtained.
    pub if_error: Duration,
}

impl Lifetime {
    /// Returns the age from which an answer can no longer be used.
    pub fn total(&self) -> Duration {
        self.fresh + self.while_revalidate.max(self.if_error)
    }
}
