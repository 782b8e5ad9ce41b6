//! The statement of an endpoint, checked against the rest of the endpoint.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{ParameterSource, SqlConfig, SqlStatement, Stateless, StatementError};
use crate::sql::{Latencies, LeastRecent, Quickness};

/// An endpoint that runs a statement.
#[derive(Debug)]
pub struct SqlTarget {
    /// Status of a success.
    pub status: StatusCode,
    /// The statement.
    pub statement: SqlStatement,
    /// Whether it runs read-only, as for all safe methods.
    pub is_read: bool,
    /// Body members that must be JSON strings when present.
    pub body_strings: Vec<String>,
    /// Whether any parameter names a member of the body.
    pub reads_body: bool,
    /// The query parameters that an answer depends on, sorted; `None` if it depends on more than
    /// path and query, or is not a plain 200.
    pub shared_parameters: Option<Vec<String>>,
    /// How long its answers took recently.
    pub latencies: Latencies,
    /// How quick it is on each node.
    pub quickness: Quickness,
    /// How long it takes on the primary without load.
    pub unloaded: LeastRecent,
    /// On which nodes it is proven to leave nothing in a session.
    pub stateless: Stateless,
}

/// A statement that becomes slower by itself counts as loaded for so long, or twice as long.
const UNLOADED_WINDOW: Duration = Duration::from_secs(30);

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

/// Why an endpoint cannot run its statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlTargetError {
    /// The statement itself.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// A path parameter that is not in the template.
    #[error("`:path.{0}` is not in the path template")]
    NotInTemplate(String),
    /// A claim on an endpoint without authentication.
    #[error("`:claims.{0}` needs auth = \"jwt\"")]
    ClaimWithoutAuth(String),
    /// A body on a method that has none.
    #[error("`:body.{0}` cannot be used with {1}, which has no body")]
    BodyOfSafeMethod(String, Method),
    /// A required string that no parameter uses.
    #[error("the sql does not use `:body.{0}`")]
    UnusedBodyString(String),
}

impl SqlTarget {
    /// Compiles the statement of an endpoint.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub fn compile(place: SqlPlace<'_>, sql: &SqlConfig) -> Result<Self, SqlTargetError> {
        let method = place.method;
        let statement = SqlStatement::parse(&sql.statement, sql.single)?;
        let reads = |source, name: &str| {
            let mut parameters = statement.parameters().iter();
            parameters.any(|p| p.source == source && p.name == name)
        };
        for parameter in statement.parameters() {
            let name = &parameter.name;
            match parameter.source {
                ParameterSource::Path if !template_has(place.template, name) => {
                    return Err(SqlTargetError::NotInTemplate(name.clone()));
                }
                ParameterSource::Claims if place.is_open => {
                    return Err(SqlTargetError::ClaimWithoutAuth(name.clone()));
                }
                ParameterSource::Body if method.is_safe() => {
                    let (name, method) = (name.clone(), method.clone());
                    return Err(SqlTargetError::BodyOfSafeMethod(name, method));
                }
                ParameterSource::Path
                | ParameterSource::Query
                | ParameterSource::Body
                | ParameterSource::Claims
                | ParameterSource::Header => {}
            }
        }
        let mut strings = sql.body_strings.iter();
        if let Some(name) = strings.find(|name| !reads(ParameterSource::Body, name)) {
            return Err(SqlTargetError::UnusedBodyString(name.clone()));
        }
        let mut parameters = statement.parameters().iter();
        Ok(Self {
            status: sql.status,
            is_read: method.is_safe(),
            reads_body: parameters.any(|p| p.source == ParameterSource::Body),
            shared_parameters: shared_parameters(place, sql, &statement),
            statement,
            body_strings: sql.body_strings.clone(),
            latencies: Latencies::default(),
            quickness: Quickness::default(),
            unloaded: LeastRecent::over(UNLOADED_WINDOW),
            stateless: Stateless::default(),
        })
    }
}

impl SqlTarget {
    /// The claims that the statement names.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let parameters = self.statement.parameters().iter();
        let claims = parameters.filter(|parameter| parameter.source == ParameterSource::Claims);
        claims.map(|claim| claim.name.as_str())
    }
}

fn shared_parameters(
    place: SqlPlace<'_>,
    sql: &SqlConfig,
    statement: &SqlStatement,
) -> Option<Vec<String>> {
    let parameters = statement.parameters().iter();
    let by_address = |source| matches!(source, ParameterSource::Path | ParameterSource::Query);
    let shared = *place.method == Method::GET
        && place.is_open
        && sql.status == StatusCode::OK
        && parameters.clone().all(|p| by_address(p.source));
    let query = parameters.filter(|p| p.source == ParameterSource::Query);
    let mut names: Vec<_> = query.map(|p| p.name.clone()).collect();
    names.sort_unstable();
    shared.then_some(names)
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

    fn compile(method: &Method, path: &str, statement: &str) -> Result<SqlTarget, String> {
        let sql = SqlConfig {
            status: StatusCode::OK,
            statement: statement.to_owned(),
            single: false,
            body_strings: Vec::new(),
        };
        let place = SqlPlace {
            method,
            template: path,
            is_open: true,
        };
        SqlTarget::compile(place, &sql).map_err(|error| error.to_string())
    }

    #[test]
    fn a_parameter_needs_its_source() {
        for (method, path, sql, expected) in [
            (
                Method::GET,
                "/x/{id}",
                "select :path.ids",
                "`:path.ids` is not in the path template",
            ),
            (
                Method::GET,
                "/x/{id}y",
                "select :path.id",
                "`:path.id` is not in the path template",
            ),
            (
                Method::GET,
                "/x",
                "select :body.a",
                "`:body.a` cannot be used with GET, which has no body",
            ),
            (
                Method::POST,
                "/x",
                "select :claims.sub",
                "`:claims.sub` needs auth = \"jwt\"",
            ),
            (
                Method::GET,
                "/x",
                "select $1",
                "`$1`: use :source.name instead of numbered parameters",
            ),
        ] {
            assert_eq!(compile(&method, path, sql).unwrap_err(), expected);
        }
        for path in ["/x/{id}", "/{id}/x", "/x/{*id}"] {
            assert!(
                compile(&Method::GET, path, "select :path.id").is_ok(),
                "{path}"
            );
        }
    }

    #[test]
    fn an_answer_is_shared_only_if_path_and_query_make_it() {
        let shared = |method, sql| compile(method, "/x/{id}", sql).unwrap().shared_parameters;
        let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        assert_eq!(shared(&Method::GET, "select 1"), names(&[]));
        let sql = "select :query.b, :path.id, :query.a, :query.b";
        assert_eq!(shared(&Method::GET, sql), names(&["a", "b"]));
        assert_eq!(shared(&Method::GET, "select :header.x, :query.a"), None);
        assert_eq!(shared(&Method::POST, "select 1"), None);
    }

    #[test]
    fn a_body_is_read_only_when_a_parameter_names_a_member_of_it() {
        let reads = |sql| compile(&Method::POST, "/x", sql).unwrap().reads_body;
        assert!(reads("select :body.a, :query.b"));
        assert!(!reads("select :query.b, ':body.a'"));
    }
}
