//! Errors in a request itself.

use http::StatusCode;

use super::problem::Problem;
use super::problem_kind::ProblemKind;
use super::{BodyError, HostError, QueryError, UnknownCoding};

/// Why the query or the body of a request cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The query string cannot be understood.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The body is not acceptable JSON.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body did not arrive whole.
    #[error("the body could not be read")]
    BrokenBody,
    /// The body took longer than `body_timeout`.
    #[error("the body did not arrive in time")]
    SlowBody,
    /// The body is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body is not declared as JSON.
    #[error("the body must be sent with Content-Type: application/json")]
    UnsupportedMediaType,
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Query(error) => Self::of(ProblemKind::InvalidParameter, error),
            RequestError::Body(error) => Self::of(ProblemKind::InvalidBody, error),
            RequestError::BrokenBody => Self::of(ProblemKind::InvalidBody, error),
            RequestError::SlowBody => {
                Self::of(ProblemKind::Deadline, error).with_status(StatusCode::REQUEST_TIMEOUT)
            }
            RequestError::TooLarge(_) => Self::of(ProblemKind::TooLarge, error),
            RequestError::UnsupportedMediaType => {
                Self::of(ProblemKind::UnsupportedMediaType, error)
            }
        }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        Self::of(ProblemKind::InvalidParameter, error)
    }
}

impl From<UnknownCoding> for Problem {
    /// RFC 9112 would have 501, but the client is at fault: nothing here has failed.
    fn from(error: UnknownCoding) -> Self {
        Self::of(ProblemKind::InvalidBody, error)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        RequestError::Query(error).into()
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        RequestError::Body(error).into()
    }
}
