//! Problem details (RFC 9457): what a client receives if there is no answer.
//!
//! Each room turns its errors into a [`Problem`] by one `From`. A problem becomes a response in two
//! steps: [`IntoResponse`] sets status and headers and leaves the problem in the response's extensions;
//! the outermost layer, which knows the request id, writes the body with [`Problem::body`] and logs the
//! cause once.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::problem_kind::ProblemKind;
use super::rate_limits::whole_seconds;
use super::shed_reason::ShedReason;
use tidegate_model::error_chain;
use tidegate_model::{ConsistencyError, PathError, TokenError, WriteLost};

/// How long a client is asked to wait unless a better value is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// The detail of a problem whose cause is not shown to the client.
const IN_THE_LOG: &str = "the cause is in the log under this request id";

/// One problem, for the client and the log.
#[derive(Debug)]
pub struct Problem {
    kind: ProblemKind,
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    field: Option<Box<(HeaderName, HeaderValue)>>,
    shed_reason: Option<ShedReason>,
    error: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// Makes a problem of a kind, with its usual status. `detail` is for the client.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            retry_after: None,
            field: None,
            shed_reason: None,
            error: None,
        }
    }

    /// Makes a problem from an error that may be shown to the client; its sources are for the log.
    #[must_use]
    pub fn of(kind: ProblemKind, error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(kind, error.to_string()).caused_by(error)
    }

    /// Makes a problem from an error that is only logged.
    #[must_use]
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut problem = Self::new(ProblemKind::Internal, IN_THE_LOG);
        problem.error = Some(error.into());
        problem
    }

    /// Sets the cause, for the log.
    #[must_use]
    pub fn caused_by(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.error = Some(Box::new(error));
        self
    }

    /// Sets a status other than that of the kind.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Sets when the same request may succeed.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Asks the client to try again soon.
    #[must_use]
    pub fn retry_soon(self) -> Self {
        self.retry_after(RETRY_AFTER_DEFAULT)
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.field = Some(Box::new((name, value)));
        self
    }

    /// Marks the request as refused for lack of room, which is not a fault.
    #[must_use]
    pub fn shed(mut self, reason: ShedReason) -> Self {
        self.shed_reason = Some(reason);
        self
    }

    /// Its stable type.
    #[must_use]
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why the request was refused for lack of room, if it was.
    #[must_use]
    pub fn shed_reason(&self) -> Option<ShedReason> {
        self.shed_reason
    }

    /// Its cause, on one line: for the log only.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        error.source().map(error_chain::chain)
    }

    /// Whether an operator should see the cause.
    #[must_use]
    pub fn is_server_fault(&self) -> bool {
        self.status.is_server_error()
    }

    /// Whether this is an answer: the same request, sent again, would get it again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.is_server_fault() && self.wait().is_none()
    }

    /// How long a client should wait before it tries again.
    fn wait(&self) -> Option<Duration> {
        let unavailable = self.status == StatusCode::SERVICE_UNAVAILABLE;
        self.retry_after
            .or(unavailable.then_some(RETRY_AFTER_DEFAULT))
    }

    /// The JSON of the response.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            request_id: &'a str,
        }
        let body = Body {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Answers with a problem that several requests may share.
    #[must_use]
    pub fn respond(self: Arc<Self>) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(wait) = self.wait() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some((name, value)) = self.field.as_deref() {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// For the log, which may contain more than the client receives.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => error.fmt(f),
            None => f.write_str(&self.detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        Arc::new(self).respond()
    }
}

impl From<ConsistencyError> for Problem {
    fn from(error: ConsistencyError) -> Self {
        Self::of(ProblemKind::InvalidConsistency, error)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::of(ProblemKind::InvalidToken, error)
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Self {
        Self::of(ProblemKind::InvalidPath, error)
    }
}

impl From<WriteLost> for Problem {
    fn from(error: WriteLost) -> Self {
        Self::of(ProblemKind::WriteLostInFailover, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the node is unavailable")]
    struct Unavailable(#[source] std::io::Error);

    #[test]
    fn sources_of_an_error_are_for_the_log_alone() {
        let source = std::io::Error::other("a secret");
        let problem = Problem::of(ProblemKind::NoNode, Unavailable(source));
        let body = String::from_utf8(problem.body("id")).unwrap();
        assert!(body.contains("the node is unavailable") && !body.contains("secret"));
        assert_eq!(problem.cause().as_deref(), Some("a secret"));
        let problem = Problem::internal("a secret");
        let body = String::from_utf8(problem.body("id")).unwrap();
        assert!(body.contains(IN_THE_LOG) && !body.contains("secret"));
        assert_eq!(problem.to_string(), "a secret");
    }

    #[test]
    fn a_problem_is_final_unless_trying_again_may_help() {
        let problem = |kind| Problem::new(kind, "");
        assert!(problem(ProblemKind::Conflict).is_final());
        assert!(!problem(ProblemKind::Conflict).retry_soon().is_final());
        assert!(!problem(ProblemKind::NoNode).is_final());
        assert!(!problem(ProblemKind::Deadline).is_final());
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for (index, kind) in ProblemKind::ALL.iter().enumerate() {
            let mut all = ProblemKind::ALL.iter();
            let first = all.position(|it| it.name() == kind.name());
            assert_eq!(first, Some(index));
        }
    }
}
