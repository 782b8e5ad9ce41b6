//! One endpoint of the configuration, compiled.

use http::{Method, StatusCode};

use super::sql::{Source, SqlStatement, StatementError};
use crate::config::{EndpointAuth, EndpointConfig, Place};

/// One endpoint, ready to serve.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is written.
    pub place: Place,
    /// `GET`, `POST`, …; `HEAD` is answered by the `GET` endpoint.
    pub method: Method,
    /// The path template, which also labels logs and metrics.
    pub template: String,
    /// Who may call it.
    pub auth: EndpointAuth,
    /// Status of a success.
    pub status: StatusCode,
    /// What it runs.
    pub statement: SqlStatement,
    /// Body members that must be JSON strings when present.
    pub body_strings: Vec<String>,
    /// Whether any parameter names a member of the body.
    pub reads_body: bool,
}

/// Why an endpoint of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The statement itself.
    #[error("sql: {0}")]
    Statement(#[from] StatementError),
    /// A path parameter that the template lacks.
    #[error("sql: `:path.{0}` is not in the path template")]
    NotInTemplate(String),
    /// A claim on an endpoint that anybody may call.
    #[error("sql: `:claims.{0}` needs auth = \"jwt\"")]
    ClaimWithoutAuth(String),
    /// A body on a method that has none.
    #[error("sql: `:body.{0}` cannot be used with {1}, which has no body")]
    BodyOfSafeMethod(String, Method),
    /// A required string that no parameter reads.
    #[error("body_strings: the sql does not use `:body.{0}`")]
    UnusedBodyString(String),
    /// A template that does not begin with a slash.
    #[error("path: it must begin with `/`")]
    NoSlash,
    /// A template that the router refuses.
    #[error("path: {0}")]
    Template(matchit::InsertError),
    /// The same method and template again.
    #[error("path: the same method and path stand already at {0}")]
    Repeated(Place),
}

impl Endpoint {
    /// Compiles one endpoint.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn compile(config: &EndpointConfig) -> Result<Self, EndpointError> {
        if !config.path.starts_with('/') {
            return Err(EndpointError::NoSlash);
        }
        let statement = SqlStatement::parse(&config.sql, config.single)?;
        let reads = |source, name: &str| {
            statement
                .parameters()
                .iter()
                .any(|p| p.source == source && p.name == name)
        };
        for parameter in statement.parameters() {
            let name = &parameter.name;
            match parameter.source {
                Source::Path if !template_has(&config.path, name) => {
                    return Err(EndpointError::NotInTemplate(name.clone()));
                }
                Source::Claims if config.auth != EndpointAuth::Jwt => {
                    return Err(EndpointError::ClaimWithoutAuth(name.clone()));
                }
                Source::Body if config.method.is_safe() => {
                    return Err(EndpointError::BodyOfSafeMethod(
                        name.clone(),
                        config.method.clone(),
                    ));
                }
                Source::Path | Source::Query | Source::Body | Source::Claims | Source::Header => {}
            }
        }
        if let Some(name) = config
            .body_strings
            .iter()
            .find(|name| !reads(Source::Body, name))
        {
            return Err(EndpointError::UnusedBodyString(name.clone()));
        }
        Ok(Self {
            place: config.place.clone(),
            method: config.method.clone(),
            template: config.path.clone(),
            auth: config.auth,
            status: config.status,
            reads_body: statement
                .parameters()
                .iter()
                .any(|p| p.source == Source::Body),
            statement,
            body_strings: config.body_strings.clone(),
        })
    }
}

/// Whether a template has `{name}` or `{*name}`.
fn template_has(template: &str, name: &str) -> bool {
    template.split('/').any(|segment| {
        let inner = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        inner.is_some_and(|inner| inner.strip_prefix('*').unwrap_or(inner) == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(method: Method, path: &str, sql: &str) -> Result<Endpoint, String> {
        let config = EndpointConfig {
            place: Place::File("file".into()),
            method,
            path: path.to_owned(),
            auth: EndpointAuth::None,
            status: StatusCode::OK,
            sql: sql.to_owned(),
            single: false,
            body_strings: Vec::new(),
        };
        Endpoint::compile(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_parameter_needs_its_source() {
        for (method, path, sql, expected) in [
            (
                Method::GET,
                "/x/{id}",
                "select :path.ids",
                "sql: `:path.ids` is not in the path template",
            ),
            (
                Method::GET,
                "/x/{id}y",
                "select :path.id",
                "sql: `:path.id` is not in the path template",
            ),
            (
                Method::GET,
                "/x",
                "select :body.a",
                "sql: `:body.a` cannot be used with GET, which has no body",
            ),
            (
                Method::POST,
                "/x",
                "select :claims.sub",
                "sql: `:claims.sub` needs auth = \"jwt\"",
            ),
            (Method::GET, "x", "select 1", "path: it must begin with `/`"),
            (
                Method::GET,
                "/x",
                "select $1",
                "sql: `$1`: write :source.name in place of numbered parameters",
            ),
        ] {
            assert_eq!(compile(method, path, sql).unwrap_err(), expected);
        }
        for path in ["/x/{id}", "/{id}/x", "/x/{*id}"] {
            assert!(
                compile(Method::GET, path, "select :path.id").is_ok(),
                "{path}"
            );
        }
    }

    #[test]
    fn a_body_is_read_only_when_a_parameter_names_a_member_of_it() {
        let reads = |sql| compile(Method::POST, "/x", sql).unwrap().reads_body;
        assert!(reads("select :body.a, :query.b"));
        assert!(!reads("select :query.b, ':body.a'"));
    }
}
