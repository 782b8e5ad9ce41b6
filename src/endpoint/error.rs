//! Why a request reaches no endpoint, and why an endpoint of the configuration cannot be used.

use http::HeaderValue;
use http::header::ALLOW;

use super::{EndpointConfig, TargetConfig};
use crate::http::{Problem, ProblemKind};
use crate::sql::SqlTargetError;
use tidegate_model::{ConfigError, PathError, Place};

/// Why a method and a path lead to no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The path has no normal form.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no such path.
    #[error("there is nothing here")]
    NotFound,
    /// The path does not have this method, only those listed.
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

/// Why an endpoint of the configuration cannot be used. Displays without the key and its value,
/// which are added in a [`ConfigError`].
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The statement or its related keys.
    #[error(transparent)]
    Sql(#[from] SqlTargetError),
    /// Whether a statement may write depends on its method.
    #[error("it is allowed only with `upstream`")]
    AnyMethod,
    /// An upstream that does not exist.
    #[error("there is no [[upstream]] named `{0}`")]
    NoUpstream(String),
    /// A template that does not begin with a slash.
    #[error("it must begin with `/`")]
    NoSlash,
    /// A template that the router refuses.
    #[error("{0}")]
    Template(matchit::InsertError),
    /// A method and template that are already used.
    #[error("the same method and path are already used at {0}")]
    Repeated(Place),
}

impl EndpointError {
    /// Adds the place, the key and its value to the error.
    pub(super) fn refuse(&self, endpoint: &EndpointConfig) -> ConfigError {
        let (key, value) = match self {
            Self::AnyMethod => ("method", endpoint.method.to_string()),
            Self::Sql(SqlTargetError::UnusedBodyString(name)) => ("body_strings", name.clone()),
            Self::Sql(SqlTargetError::LocalSettings(error)) => (error.key, error.value.clone()),
            Self::Sql(SqlTargetError::Page(error)) => ("page", error.value()),
            Self::Sql(_) => ("sql", statement(&endpoint.target)),
            Self::NoUpstream(name) => ("upstream", name.clone()),
            Self::NoSlash | Self::Template(_) | Self::Repeated(_) => {
                ("path", endpoint.path.clone())
            }
        };
        ConfigError::of_key(&endpoint.place, key, &value, self)
    }
}

fn statement(target: &TargetConfig) -> String {
    if let TargetConfig::Sql(sql) = target {
        sql.statement.clone()
    } else {
        String::new()
    }
}
