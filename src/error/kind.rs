//! The closed set of problem types, and which of them each problem is.

use http::StatusCode;

use super::Problem;
use crate::auth::AuthError;
use crate::postgres::pool::PoolError;
use crate::sql::FailureKind;
use crate::upstream::UpstreamError;

/// One member of the closed set of problem types.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) status: StatusCode,
}

const fn kind(name: &'static str, title: &'static str, status: StatusCode) -> Kind {
    Kind {
        name,
        title,
        status,
    }
}

const INVALID_PARAMETER: Kind = kind(
    "invalid-parameter",
    "Invalid parameter",
    StatusCode::BAD_REQUEST,
);
const INVALID_BODY: Kind = kind("invalid-body", "Invalid body", StatusCode::BAD_REQUEST);
const INTERNAL: Kind = kind(
    "internal",
    "Internal error",
    StatusCode::INTERNAL_SERVER_ERROR,
);
const NO_PRIMARY: Kind = kind(
    "no-primary",
    "Primary unavailable",
    StatusCode::SERVICE_UNAVAILABLE,
);
const OVERLOADED: Kind = kind("overloaded", "Overloaded", StatusCode::SERVICE_UNAVAILABLE);
const RATE_LIMITED: Kind = kind(
    "rate-limited",
    "Rate limited",
    StatusCode::TOO_MANY_REQUESTS,
);
const NO_NODE: Kind = kind(
    "no-node",
    "No node available",
    StatusCode::SERVICE_UNAVAILABLE,
);
const OUTCOME_UNKNOWN: Kind = kind(
    "outcome-unknown",
    "Outcome unknown",
    StatusCode::BAD_GATEWAY,
);
const TOO_LARGE: Kind = kind("too-large", "Body too large", StatusCode::PAYLOAD_TOO_LARGE);
const SLOW_BODY: Kind = kind("deadline", "Deadline exceeded", StatusCode::REQUEST_TIMEOUT);
const DEADLINE: Kind = kind("deadline", "Deadline exceeded", StatusCode::GATEWAY_TIMEOUT);

impl Problem {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::InvalidConsistency(_) => kind(
                "invalid-consistency",
                "Invalid X-Consistency",
                StatusCode::BAD_REQUEST,
            ),
            Self::InvalidToken(_) => kind(
                "invalid-token",
                "Invalid X-Consistency-Token",
                StatusCode::BAD_REQUEST,
            ),
            Self::InvalidPath(_) => kind("invalid-path", "Invalid path", StatusCode::BAD_REQUEST),
            Self::InvalidHost(_)
            | Self::InvalidQuery(_)
            | Self::InvalidParameter(_)
            | Self::InvalidArgument(_)
            | Self::NotAString(_) => INVALID_PARAMETER,
            Self::InvalidBody(_) | Self::BrokenBody => INVALID_BODY,
            Self::SlowBody => SLOW_BODY,
            Self::TooLarge(_) => TOO_LARGE,
            Self::Upstream(error) => upstream_kind(error),
            Self::UnsupportedMediaType => kind(
                "unsupported-media-type",
                "Unsupported media type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Unauthorized(AuthError::KeysUnavailable) => OVERLOADED,
            Self::Unauthorized(_) => kind("unauthorized", "Unauthorized", StatusCode::UNAUTHORIZED),
            Self::Misdirected => kind(
                "misdirected",
                "Misdirected",
                StatusCode::MISDIRECTED_REQUEST,
            ),
            Self::Forbidden(_) => kind("forbidden", "Forbidden", StatusCode::FORBIDDEN),
            Self::PreconditionFailed => kind(
                "precondition-failed",
                "Precondition failed",
                StatusCode::PRECONDITION_FAILED,
            ),
            Self::NotFound => kind("not-found", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed(_) => kind(
                "method-not-allowed",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::Statement(failure) => statement_kind(&failure.kind),
            Self::Overloaded
            | Self::SpillBudget
            | Self::Pool(PoolError::Busy(_) | PoolError::Overloaded(..)) => OVERLOADED,
            Self::NoPrimary => NO_PRIMARY,
            Self::NoNode | Self::Pool(PoolError::Unreachable(..)) => NO_NODE,
            Self::WriteLost(_) => kind(
                "write-lost-in-failover",
                "Write lost in a failover",
                StatusCode::CONFLICT,
            ),
            Self::RateLimited { .. } => RATE_LIMITED,
            Self::Loop => kind("loop-detected", "Loop detected", StatusCode::LOOP_DETECTED),
            Self::Deadline => DEADLINE,
            Self::OutcomeUnknown(_) => OUTCOME_UNKNOWN,
            Self::Internal(_) => INTERNAL,
        }
    }
}

fn statement_kind(failure: &FailureKind) -> Kind {
    match failure {
        FailureKind::InvalidValue { .. } => INVALID_PARAMETER,
        FailureKind::Conflict { .. } | FailureKind::Collision => {
            kind("conflict", "Conflict", StatusCode::CONFLICT)
        }
        FailureKind::Constraint { .. } => {
            kind("rejected", "Rejected", StatusCode::UNPROCESSABLE_ENTITY)
        }
        FailureKind::Raised { status, .. } => raised_kind(*status),
        FailureKind::Timeout => DEADLINE,
        FailureKind::NotPrimary => NO_PRIMARY,
        FailureKind::Unavailable => NO_NODE,
        FailureKind::Unexpected => INTERNAL,
    }
}

fn upstream_kind(error: &UpstreamError) -> Kind {
    match error {
        UpstreamError::Busy => OVERLOADED,
        UpstreamError::Unreachable(_) => NO_NODE,
        UpstreamError::OutcomeUnknown(_) => OUTCOME_UNKNOWN,
        UpstreamError::BadAnswer(_) => kind("bad-gateway", "Bad gateway", StatusCode::BAD_GATEWAY),
        UpstreamError::Timeout => DEADLINE,
        UpstreamError::BodyTooLarge(_) => TOO_LARGE,
        UpstreamError::BodyTooSlow => SLOW_BODY,
        UpstreamError::BodyBroken => INVALID_BODY,
    }
}

/// The type of a status that a function chose.
fn raised_kind(status: StatusCode) -> Kind {
    match status {
        StatusCode::BAD_REQUEST => INVALID_PARAMETER,
        StatusCode::UNAUTHORIZED => kind("unauthorized", "Unauthorized", status),
        StatusCode::NOT_FOUND => kind("not-found", "Not found", status),
        StatusCode::CONFLICT => kind("conflict", "Conflict", status),
        StatusCode::TOO_MANY_REQUESTS => RATE_LIMITED,
        _ => kind("rejected", "Rejected", status),
    }
}
