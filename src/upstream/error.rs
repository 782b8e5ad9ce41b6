//! Why an upstream did not answer.

use http::StatusCode;

use super::client::ClientError;
use crate::http::{CertificateError, Problem, ProblemKind, ShedReason};
use tidegate_model::error_chain;

/// Why a request to an upstream gets no answer. Causes are for the log: none contains a header or
/// body.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The maximum number of requests is in progress.
    #[error("the application behind this path is busy")]
    Busy,
    /// The request was passed on by this process before.
    #[error("this gateway has handed the request on before: an upstream leads back to it")]
    Loop,
    /// No node could be reached, or none answered; nothing was executed, or the request can be
    /// repeated.
    #[error("no node of the application behind this path answers")]
    Unreachable(#[source] Option<AttemptError>),
    /// A request that may change something was sent, and no answer arrived.
    #[error("the request was sent but no answer arrived: it is unknown whether it took effect")]
    OutcomeUnknown(#[source] Option<AttemptError>),
    /// A node's answer must not be passed on.
    #[error(
        "the application behind this path gave an answer that cannot be passed on; it may have done what was asked"
    )]
    BadAnswer(#[source] AttemptError),
    /// A safe request was not answered in time.
    #[error("the application behind this path took too long")]
    Timeout,
    /// The client's body is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The client's body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// The client's body was interrupted.
    #[error("the body could not be read")]
    BodyBroken,
}

impl From<UpstreamError> for Problem {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Busy => {
                Self::of(ProblemKind::Overloaded, error).shed(ShedReason::ConnectionsMax)
            }
            UpstreamError::Loop => Self::of(ProblemKind::LoopDetected, error),
            UpstreamError::Unreachable(_) => Self::of(ProblemKind::NoNode, error),
            UpstreamError::OutcomeUnknown(_) => Self::of(ProblemKind::OutcomeUnknown, error),
            UpstreamError::BadAnswer(_) => Self::of(ProblemKind::BadGateway, error),
            UpstreamError::Timeout => Self::of(ProblemKind::Deadline, error),
            UpstreamError::BodyTooLarge(_) => Self::of(ProblemKind::TooLarge, error),
            UpstreamError::BodyTooSlow => {
                Self::of(ProblemKind::Deadline, error).with_status(StatusCode::REQUEST_TIMEOUT)
            }
            UpstreamError::BodyBroken => Self::of(ProblemKind::InvalidBody, error),
        }
    }
}

/// Why one node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There was no connection, so nothing was sent.
    #[error("no connection to {node}: {}", error_chain::first(.source))]
    NotSent {
        /// The node.
        node: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// The connection broke.
    #[error("{node} did not answer: {}", error_chain::first(.source))]
    Lost {
        /// The node.
        node: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// An answer arrived that is not valid HTTP/1, or has more fields than are read.
    #[error("{node} did not answer in HTTP: {}", error_chain::first(.source))]
    NotHttp {
        /// The node.
        node: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// An answer arrived whose end is not certain.
    #[error("{node} answered with {what}")]
    Misframed {
        /// The node.
        node: String,
        /// What is wrong with its fields.
        what: &'static str,
    },
    /// The answer cannot be passed on.
    #[error("{node} gave an answer that cannot be passed on: {what}")]
    Unusable {
        /// The node.
        node: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl AttemptError {
    /// Why the request gets no answer, if no other node answers either.
    pub(super) fn unanswered(self) -> UpstreamError {
        match self {
            Self::Misframed { .. } | Self::Unusable { .. } | Self::NotHttp { .. } => {
                UpstreamError::BadAnswer(self)
            }
            Self::NotSent { .. } | Self::Lost { .. } => UpstreamError::Unreachable(Some(self)),
        }
    }

    /// Whether the node cannot have received any of the request.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::NotSent { .. })
    }

    /// The name in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "unreachable",
            Self::Lost { .. } => "lost",
            Self::Unusable { .. } | Self::Misframed { .. } | Self::NotHttp { .. } => "unusable",
        }
    }
}

/// Why upstreams cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    /// The roots that nodes are verified with cannot be used.
    #[error("upstream: {0}")]
    Roots(#[from] CertificateError),
    /// The TLS library does not start.
    #[error("upstream: no HTTP client: {}", error_chain::first(.0))]
    Client(#[from] rustls::Error),
}
