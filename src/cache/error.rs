//! Why a request that the cache may answer gets no answer.

use crate::http::{Problem, ProblemKind};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    #[error("this is not, or no longer, what the request's condition wants")]
    PreconditionFailed,
    /// A fetch took longer than `request_deadline`.
    #[error("the request took too long")]
    Deadline,
    /// The request accepts a stored answer only (`only-if-cached`).
    #[error("no stored answer is good enough, and the request accepts no other")]
    NotStored,
    /// A fetch ended without a result.
    #[error("the gateway failed: a fetch for the cache ended early")]
    EndedEarly,
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::PreconditionFailed => Self::of(ProblemKind::PreconditionFailed, error),
            CacheError::Deadline => Self::of(ProblemKind::Deadline, error),
            CacheError::NotStored => Self::of(ProblemKind::Deadline, error),
            CacheError::EndedEarly => Self::internal(error),
        }
    }
}
