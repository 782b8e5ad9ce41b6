//! Why a request for an SQL endpoint gets no answer.

use std::time::Duration;

use super::local_settings::{BindError, RoleError};
use super::{ArgumentError, CursorError, Failure, FailureKind, LimitError, TooLongForLink};
use crate::http::{Problem, ProblemKind, ShedReason};
use crate::postgres::pool::PoolError;
use http::StatusCode;
use tidegate_model::WriteLost;

/// The longest `Retry-After` when a queue is long: a stalled server may recover at any moment.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// A value cannot be bound.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A page of so many rows is not possible.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A next page could not be named.
    #[error(transparent)]
    TooLong(#[from] TooLongForLink),
    /// The next page cannot be named.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The token does not allow a role of the endpoint.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// A body member that must be a string is not one.
    #[error("body member \"{0}\" must be a JSON string")]
    NotAString(String),
    /// The statement asks for one row and there is none.
    #[error("there is nothing here")]
    NoRow,
    /// The statement failed.
    #[error(transparent)]
    Statement(#[from] Failure),
    /// No connection, while the request has not been sent.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The primary is needed and cannot be reached.
    #[error("the primary cannot be reached")]
    NoPrimary,
    /// No node can honour the request.
    #[error("no node can answer this with the freshness it asks for")]
    NoNode,
    /// The primary serves its maximum number of reads in place of replicas.
    #[error("no replica can answer this, and the primary has no room for more of their readers")]
    SpillBudget,
    /// The token's position did not survive a failover.
    #[error(transparent)]
    WriteLost(#[from] WriteLost),
    /// The request took longer than `request_deadline`.
    #[error("the request took too long")]
    Deadline,
    /// A write was sent and no answer came.
    #[error(
        "the request was sent but no answer arrived: it is unknown whether it took effect; send it again \
         with the same Idempotency-Key to find out"
    )]
    OutcomeUnknown(#[source] Option<Failure>),
}

impl From<BindError> for SqlError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Argument(error) => error.into(),
            BindError::Role(error) => error.into(),
        }
    }
}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Argument(error) => Self::of(ProblemKind::InvalidParameter, error),
            SqlError::Limit(error) => Self::of(ProblemKind::InvalidParameter, error),
            SqlError::TooLong(error) => Self::of(ProblemKind::InvalidParameter, error),
            SqlError::Cursor(error) => Self::internal(error),
            SqlError::Role(error) => Self::of(ProblemKind::Forbidden, error),
            SqlError::NotAString(_) => Self::of(ProblemKind::InvalidParameter, error),
            SqlError::NoRow => Self::of(ProblemKind::NotFound, error),
            SqlError::Statement(failure) => failure.into(),
            SqlError::Pool(error) => no_connection(error),
            SqlError::NoPrimary => Self::of(ProblemKind::NoPrimary, error),
            SqlError::NoNode => Self::of(ProblemKind::NoNode, error),
            SqlError::SpillBudget => {
                Self::of(ProblemKind::Overloaded, error).shed(ShedReason::SpillBudget)
            }
            SqlError::WriteLost(lost) => lost.into(),
            SqlError::Deadline => Self::of(ProblemKind::Deadline, error),
            SqlError::OutcomeUnknown(_) => Self::of(ProblemKind::OutcomeUnknown, error),
        }
    }
}

/// The detail does not name the node.
fn no_connection(error: PoolError) -> Problem {
    let problem = |kind| Problem::new(kind, "no connection to a node could be had; try again");
    let problem = match &error {
        PoolError::Overloaded(_, wait) => problem(ProblemKind::Overloaded)
            .shed(ShedReason::Deadline)
            .retry_after(RETRY_AFTER_MAX.min(*wait)),
        PoolError::Busy(_) => problem(ProblemKind::Overloaded).shed(ShedReason::AcquireTimeout),
        PoolError::Unreachable(..) => problem(ProblemKind::NoNode),
    };
    problem.caused_by(error)
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let kind = match &failure.kind {
            FailureKind::InvalidValue { .. } | FailureKind::InvalidSetting => {
                ProblemKind::InvalidParameter
            }
            FailureKind::Denied => ProblemKind::Forbidden,
            FailureKind::Conflict { .. } => ProblemKind::Conflict,
            FailureKind::Collision => return Self::of(ProblemKind::Conflict, failure).retry_soon(),
            FailureKind::Constraint { .. } => ProblemKind::Rejected,
            FailureKind::Raised { status, .. } => {
                let status = *status;
                return Self::of(kind_of_raised(status), failure).with_status(status);
            }
            FailureKind::Timeout => ProblemKind::Deadline,
            FailureKind::NotPrimary => ProblemKind::NoPrimary,
            FailureKind::Unavailable => ProblemKind::NoNode,
            FailureKind::Unexpected => return Self::internal(failure),
        };
        Self::of(kind, failure)
    }
}

/// The kind for a status that a function chose.
fn kind_of_raised(status: StatusCode) -> ProblemKind {
    match status {
        StatusCode::BAD_REQUEST => ProblemKind::InvalidParameter,
        StatusCode::UNAUTHORIZED => ProblemKind::Unauthorized,
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::CONFLICT => ProblemKind::Conflict,
        StatusCode::TOO_MANY_REQUESTS => ProblemKind::RateLimited,
        _ => ProblemKind::Rejected,
    }
}
