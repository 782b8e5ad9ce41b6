//! Why an upstream gave no answer.

use http::StatusCode;
use hyper_util::client::legacy;

use crate::http::{Problem, ProblemKind, ShedReason};
use tidegate_model::error_chain;

/// Why a request to an upstream has no answer. Causes are for the log: none names a header or body.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// As many requests as it may have are under way.
    #[error("the application behind this path is busy")]
    Busy,
    /// The request was passed on by this process before.
    #[error("this gateway has handed the request on before: an upstream leads back to it")]
    Loop,
    /// No node could be reached, or none answered; nothing was done, or it may be done again.
    #[error("no node of the application behind this path answers")]
    Unreachable(#[source] Option<AttemptError>),
    /// A request that may change something was sent, and no answer came.
    #[error("the request was sent and no answer came: whether it took effect is unknown")]
    OutcomeUnknown(#[source] Option<AttemptError>),
    /// What a node answered must not be passed on.
    #[error("the application behind this path answered what cannot be passed on")]
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
    /// The client's body broke off.
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

/// Why one node gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// No connection: nothing was sent.
    #[error("no connection to {node}: {}", error_chain::first(.source))]
    NotSent {
        /// Which node.
        node: String,
        /// Why not.
        #[source]
        source: legacy::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("{node} did not answer: {}", error_chain::first(.source))]
    Lost {
        /// Which node.
        node: String,
        /// What happened.
        #[source]
        source: legacy::Error,
    },
    /// An answer came, but not where it ends.
    #[error("{node} answered with {what}")]
    Misframed {
        /// Which node.
        node: String,
        /// What is wrong with its fields.
        what: &'static str,
    },
    /// What came cannot be passed on.
    #[error("{node} answered what cannot be passed on: {what}")]
    Unusable {
        /// Which node.
        node: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl AttemptError {
    /// Why the request has no answer, when no other node has one.
    pub(super) fn unanswered(self) -> UpstreamError {
        match self {
            Self::Misframed { .. } => UpstreamError::BadAnswer(self),
            Self::NotSent { .. } | Self::Lost { .. } | Self::Unusable { .. } => {
                UpstreamError::Unreachable(Some(self))
            }
        }
    }

    /// Whether the node can have seen nothing of the request.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::NotSent { .. })
    }

    /// The name in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "unreachable",
            Self::Lost { .. } => "lost",
            Self::Unusable { .. } | Self::Misframed { .. } => "unusable",
        }
    }
}

/// Why upstreams cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("upstream: no HTTP client: {}", error_chain::first(.0))]
pub struct SetupError(#[from] rustls::Error);
