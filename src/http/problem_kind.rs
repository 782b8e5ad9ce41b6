//! The closed set of problem types.

use http::StatusCode;

/// The base URL of problem types; each type has a page that explains it.
const TYPE_BASE: &str = "https://tidegate.dev/problems/";

/// A stable problem type: clients may rely on its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// `X-Consistency` cannot be understood.
    InvalidConsistency,
    /// `X-Consistency-Token` is not a token.
    InvalidToken,
    /// The path is not in normal form.
    InvalidPath,
    /// A value cannot be used.
    InvalidParameter,
    /// The body is not acceptable, or did not arrive whole.
    InvalidBody,
    /// The client is not recognised.
    Unauthorized,
    /// The request is not accepted from this origin or address, or for what its token says.
    Forbidden,
    /// The listener does not answer for the request's host.
    Misdirected,
    /// There is no such path or object.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The request conflicts with what exists, or with another request.
    Conflict,
    /// The token's position did not survive a failover.
    WriteLostInFailover,
    /// A condition of the request does not hold.
    PreconditionFailed,
    /// The body is larger than allowed.
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// A rule of the database forbids the request.
    Rejected,
    /// The client is over its limit.
    RateLimited,
    /// A fault of the gateway.
    Internal,
    /// An application's answer cannot be passed on.
    BadGateway,
    /// An unsafe request was sent and no answer came.
    OutcomeUnknown,
    /// There is no room for the request now.
    Overloaded,
    /// The primary is needed and cannot be reached.
    NoPrimary,
    /// No node can serve the request.
    NoNode,
    /// The traffic policy lets no region serve the request.
    NoRegion,
    /// Something took too long.
    Deadline,
    /// The gateway has passed the request on before.
    LoopDetected,
}

impl ProblemKind {
    /// The URL of its page, which is its type in an answer.
    #[must_use]
    pub fn uri(self) -> String {
        format!("{TYPE_BASE}{}", self.name())
    }

    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::InvalidConsistency,
        Self::InvalidToken,
        Self::InvalidPath,
        Self::InvalidParameter,
        Self::InvalidBody,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Misdirected,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::WriteLostInFailover,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Rejected,
        Self::RateLimited,
        Self::Internal,
        Self::BadGateway,
        Self::OutcomeUnknown,
        Self::Overloaded,
        Self::NoPrimary,
        Self::NoNode,
        Self::NoRegion,
        Self::Deadline,
        Self::LoopDetected,
    ];

    /// The stable name: the last part of the type's URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The title for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().1
    }

    /// The status of nearly every problem of this kind.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().2
    }

    const fn row(self) -> (&'static str, &'static str, StatusCode) {
        use StatusCode as Status;
        match self {
            Self::InvalidConsistency => (
                "invalid-consistency",
                "Invalid X-Consistency",
                Status::BAD_REQUEST,
            ),
            Self::InvalidToken => (
                "invalid-token",
                "Invalid X-Consistency-Token",
                Status::BAD_REQUEST,
            ),
            Self::InvalidPath => ("invalid-path", "Invalid path", Status::BAD_REQUEST),
            Self::InvalidParameter => (
                "invalid-parameter",
                "Invalid parameter",
                Status::BAD_REQUEST,
            ),
            Self::InvalidBody => ("invalid-body", "Invalid body", Status::BAD_REQUEST),
            Self::Unauthorized => ("unauthorized", "Unauthorized", Status::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", "Forbidden", Status::FORBIDDEN),
            Self::Misdirected => ("misdirected", "Misdirected", Status::MISDIRECTED_REQUEST),
            Self::NotFound => ("not-found", "Not found", Status::NOT_FOUND),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                "Method not allowed",
                Status::METHOD_NOT_ALLOWED,
            ),
            Self::Conflict => ("conflict", "Conflict", Status::CONFLICT),
            Self::WriteLostInFailover => (
                "write-lost-in-failover",
                "Write lost in a failover",
                Status::CONFLICT,
            ),
            Self::PreconditionFailed => (
                "precondition-failed",
                "Precondition failed",
                Status::PRECONDITION_FAILED,
            ),
            Self::TooLarge => ("too-large", "Body too large", Status::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                "Unsupported media type",
                Status::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Rejected => ("rejected", "Rejected", Status::UNPROCESSABLE_ENTITY),
            Self::RateLimited => ("rate-limited", "Rate limited", Status::TOO_MANY_REQUESTS),
            Self::Internal => ("internal", "Internal error", Status::INTERNAL_SERVER_ERROR),
            Self::BadGateway => ("bad-gateway", "Bad gateway", Status::BAD_GATEWAY),
            Self::OutcomeUnknown => ("outcome-unknown", "Outcome unknown", Status::BAD_GATEWAY),
            Self::Overloaded => ("overloaded", "Overloaded", Status::SERVICE_UNAVAILABLE),
            Self::NoPrimary => (
                "no-primary",
                "Primary unavailable",
                Status::SERVICE_UNAVAILABLE,
            ),
            Self::NoNode => ("no-node", "No node available", Status::SERVICE_UNAVAILABLE),
            Self::NoRegion => (
                "no-region",
                "No region available",
                Status::SERVICE_UNAVAILABLE,
            ),
            Self::Deadline => ("deadline", "Deadline exceeded", Status::GATEWAY_TIMEOUT),
            Self::LoopDetected => ("loop-detected", "Loop detected", Status::LOOP_DETECTED),
        }
    }
}
