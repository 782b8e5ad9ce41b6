//! Where a statement runs: the method and path of its endpoint, and what its requests have.

use http::Method;

use super::{Parameter, ParameterSource};

/// The method and path of an SQL endpoint, and whether it is open.
#[derive(Debug, Clone, Copy)]
pub struct SqlPlace<'a> {
    /// Its one method.
    pub method: &'a Method,
    /// Its path template.
    pub template: &'a str,
    /// Whether it requires no token.
    pub is_open: bool,
}

/// A parameter that no request of the endpoint has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParameterError {
    /// A path parameter that is not in the template.
    #[error("`:path.{0}` is not in the path template")]
    NotInTemplate(String),
    /// A claim on an endpoint without authentication.
    #[error("`:claims.{0}` needs auth = \"jwt\"")]
    ClaimWithoutAuth(String),
    /// A body on a method that has none.
    #[error("`:body.{0}` cannot be used with {1}, which has no body")]
    BodyOfSafeMethod(String, Method),
}

impl SqlPlace<'_> {
    /// Checks that requests have a parameter.
    pub(super) fn check(&self, parameter: &Parameter) -> Result<(), ParameterError> {
        let name = || parameter.name.clone();
        match parameter.source {
            ParameterSource::Path if !self.template_has(&parameter.name) => {
                Err(ParameterError::NotInTemplate(name()))
            }
            ParameterSource::Claims if self.is_open => {
                Err(ParameterError::ClaimWithoutAuth(name()))
            }
            ParameterSource::Body if self.method.is_safe() => {
                let method = self.method.clone();
                Err(ParameterError::BodyOfSafeMethod(name(), method))
            }
            ParameterSource::Path
            | ParameterSource::Query
            | ParameterSource::Body
            | ParameterSource::Claims
            | ParameterSource::Header => Ok(()),
        }
    }

    /// Whether the template has `{name}` or `{*name}`.
    fn template_has(&self, name: &str) -> bool {
        self.template.split('/').any(|segment| {
            let inner = segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            inner.is_some_and(|inner| inner.strip_prefix('*').unwrap_or(inner) == name)
        })
    }
}
