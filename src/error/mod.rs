//! Problem details (RFC 9457): the one place where a status code is assigned to an error.
//!
//! A [`Problem`] becomes a response in two steps: [`IntoResponse`] sets status and headers and
//! leaves the problem in the response's extensions; the outermost layer, which knows the request
//! id, writes the body with [`Problem::body`] and logs the cause once.

mod kind;
mod shed_reason;

pub use shed_reason::ShedReason;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use self::kind::Kind;
use crate::auth::AuthError;
use crate::http::whole_seconds;
use crate::http::{BodyError, HostError, QueryError};
use crate::postgres::pool::PoolError;
use crate::sql::{ArgumentError, Failure, FailureKind};
use crate::upstream::UpstreamError;
use tidegate_model::PathError;
use tidegate_model::error_chain;
use tidegate_model::{ConsistencyError, TokenError, WriteLost};
use tidegate_policy::RateLimit;

/// Where problem types live; each type's page explains it.
const TYPE_BASE: &str = "https://tidegate.dev/problems/";

/// The longest wait asked for when a queue is long: a stalled server may be back any moment.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Everything a request can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// `X-Consistency` cannot be understood.
    #[error(transparent)]
    InvalidConsistency(#[from] ConsistencyError),
    /// `X-Consistency-Token` is no token.
    #[error(transparent)]
    InvalidToken(#[from] TokenError),
    /// The request does not say which host it is for.
    #[error(transparent)]
    InvalidHost(#[from] HostError),
    /// The path is not in normal form.
    #[error(transparent)]
    InvalidPath(#[from] PathError),
    /// The query string cannot be understood.
    #[error(transparent)]
    InvalidQuery(#[from] QueryError),
    /// A parameter of the admin listener is missing or wrong.
    #[error("{0}")]
    InvalidParameter(&'static str),
    /// A value cannot be bound.
    #[error(transparent)]
    InvalidArgument(#[from] ArgumentError),
    /// A body member that must be a string is not one.
    #[error("body member \"{0}\" must be a JSON string")]
    NotAString(String),
    /// The body is not acceptable JSON.
    #[error(transparent)]
    InvalidBody(#[from] BodyError),
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
    /// Nobody known is asking.
    #[error(transparent)]
    Unauthorized(#[from] AuthError),
    /// The admin listener does not answer for this host.
    #[error(
        "this listener does not answer for this host; [admin] hosts lists the names that it answers for"
    )]
    Misdirected,
    /// A write that the admin listener does not take.
    #[error("{0}")]
    Forbidden(&'static str),
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    #[error("this is not, or no longer, what the request's condition wants")]
    PreconditionFailed,
    /// No such path or object.
    #[error("there is nothing here")]
    NotFound,
    /// The path has no such method.
    #[error("the method is not allowed here")]
    MethodNotAllowed(HeaderValue),
    /// The statement failed.
    #[error(transparent)]
    Statement(#[from] Failure),
    /// No connection, while the request has not been sent.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The primary is needed and cannot be had.
    #[error("the primary cannot be reached")]
    NoPrimary,
    /// No node can honour the request.
    #[error("no node can answer this with the freshness it asks for")]
    NoNode,
    /// The application behind the path gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The primary does as much as it may for replicas that cannot serve.
    #[error("no replica can answer this, and the primary has no room for more of their readers")]
    SpillBudget,
    /// What the token has seen did not survive a failover.
    #[error(transparent)]
    WriteLost(#[from] WriteLost),
    /// The client has spent its budget on the path's policy row.
    #[error("this client has sent too many requests: the limit here is {limit}")]
    RateLimited {
        /// The row's.
        limit: RateLimit,
        /// When the next request may succeed.
        wait: Duration,
    },
    /// As many requests are in flight as may be.
    #[error("too many requests are being served")]
    Overloaded,
    /// The request was handed on by this process before.
    #[error("this gateway has handed the request on before: an upstream leads back to it")]
    Loop,
    /// The request took longer than `request_deadline`.
    #[error("the request took too long")]
    Deadline,
    /// A write was sent and no answer came.
    #[error(
        "the request was sent and no answer came: whether it took effect is unknown; send it again \
         with the same Idempotency-Key to find out"
    )]
    OutcomeUnknown(#[source] Option<Failure>),
    /// A fault of the gateway.
    #[error("the gateway failed: {0}")]
    Internal(String),
}

impl Problem {
    /// What a client may know beyond the title; the causes of 5xx stay in the log.
    fn detail(&self) -> String {
        match self {
            Self::Internal(_) => "the cause is in the log under this request id".to_owned(),
            Self::Pool(_) => "no connection to a node could be had; try again".to_owned(),
            Self::Statement(failure) if failure.kind == FailureKind::Unexpected => {
                "the cause is in the log under this request id".to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// How long a client should wait before it tries again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => return Some(*wait),
            Self::Pool(PoolError::Overloaded(_, wait)) => return Some(*wait.min(&RETRY_AFTER_MAX)),
            _ => {}
        }
        let status = self.kind().status;
        let collision = matches!(
            self,
            Self::Statement(Failure {
                kind: FailureKind::Collision,
                ..
            })
        );
        (status == StatusCode::SERVICE_UNAVAILABLE || collision).then_some(Duration::from_secs(1))
    }

    /// The JSON of a problem response.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: String,
            request_id: &'a str,
        }
        let Kind {
            name,
            title,
            status,
        } = self.kind();
        let r#type = format!("{TYPE_BASE}{name}");
        let detail = self.detail();
        let body = Body {
            r#type,
            title,
            status: status.as_u16(),
            detail,
            request_id,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The stable name of the problem's type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.kind().name
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().status
    }

    /// What caused it, on one line: for the log only.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        self.source().map(error_chain::chain)
    }

    /// Whether this is an answer: the same request, sent again, would get it again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.is_server_fault() && self.retry_after().is_none()
    }

    /// Why the request was refused for want of room, if it was: nothing is broken then.
    #[must_use]
    pub fn shed_reason(&self) -> Option<ShedReason> {
        match self {
            Self::Overloaded => Some(ShedReason::RequestsMax),
            Self::Pool(PoolError::Overloaded(..)) => Some(ShedReason::Deadline),
            Self::Pool(PoolError::Busy(_)) => Some(ShedReason::AcquireTimeout),
            Self::Upstream(UpstreamError::Busy) => Some(ShedReason::ConnectionsMax),
            Self::SpillBudget => Some(ShedReason::SpillBudget),
            _ => None,
        }
    }

    /// Whether an operator should see the cause.
    #[must_use]
    pub fn is_server_fault(&self) -> bool {
        self.kind().status.is_server_error()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Arc::new(self).respond()
    }
}

impl Problem {
    /// Answers with a problem that several requests may share.
    #[must_use]
    pub fn respond(self: Arc<Self>) -> Response {
        let mut response = self.kind().status.into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        match &*self {
            Self::MethodNotAllowed(allow) => {
                headers.insert(ALLOW, allow.clone());
            }
            Self::Unauthorized(error) => {
                if let Ok(challenge) = HeaderValue::try_from(error.challenge()) {
                    headers.insert(WWW_AUTHENTICATE, challenge);
                }
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}
