//! Why a request reaches no endpoint.

use http::HeaderValue;
use http::header::ALLOW;

use crate::http::{Problem, ProblemKind};
use tidegate_model::PathError;

/// Why a method and a path lead to no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The path has no normal form.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no such path.
    #[error("there is nothing here")]
    NotFound,
    /// The path has no such method, but those listed.
    #[error("the method is not allowed here")]
    MethodNotAllowed(HeaderValue),
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Path(error) => error.into(),
            RouteError::NotFound => Self::of(ProblemKind::NotFound, error),
            RouteError::MethodNotAllowed(ref allow) => {
                let allow = allow.clone();
                Self::of(ProblemKind::MethodNotAllowed, error).with_field(ALLOW, allow)
            }
        }
    }
}
