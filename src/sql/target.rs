//! The statement of an endpoint, checked against the rest of the endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::local_settings::{LocalSettings, LocalSettingsError};
use super::place::{ParameterError, SqlPlace};
use super::{
    Page, PageError, Parameter, ParameterSource, SqlConfig, SqlStatement, Stateless, StatementError,
};
use crate::sql::{Latencies, LeastRecent, Quickness};

/// An endpoint that runs a statement.
#[derive(Debug)]
pub struct SqlTarget {
    /// Status of a success.
    pub status: StatusCode,
    /// The statement.
    pub statement: SqlStatement,
    /// Its text as configured.
    pub configured: Arc<str>,
    /// Whether it runs read-only, as for all safe methods.
    pub is_read: bool,
    /// Body members that must be JSON strings when present.
    pub body_strings: Vec<String>,
    /// Whether any parameter names a member of the body.
    pub reads_body: bool,
    /// Whether an answer may depend on the client: on a token or a header.
    pub is_one_clients: bool,
    /// The settings and the role of its transactions; such a statement has a transaction and a connection of
    /// its own.
    pub local: Option<Box<LocalSettings>>,
    /// How its answers are divided into pages.
    pub page: Option<Box<Page>>,
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

/// Why an endpoint cannot run its statement.
#[derive(Debug, thiserror::Error)]
pub enum SqlTargetError {
    /// The statement itself.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// A parameter of the statement.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The settings or the role.
    #[error(transparent)]
    LocalSettings(#[from] LocalSettingsError),
    /// The pages.
    #[error(transparent)]
    Page(#[from] PageError),
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
        let statement = SqlStatement::parse(&sql.statement, sql.single)?;
        for parameter in statement.parameters() {
            place.check(parameter)?;
        }
        let local = LocalSettings::compile(place, sql)?;
        let page = Page::compile(place, sql, &statement)?;
        let statement = match &page {
            Some(page) => page.divide(statement),
            None => statement,
        };
        let parameters = || parameters(&statement, local.as_ref());
        let in_body = |p: &&Parameter| p.source == ParameterSource::Body;
        let is_unused = |name: &&String| !parameters().filter(in_body).any(|p| p.name == **name);
        if let Some(name) = sql.body_strings.iter().find(is_unused) {
            return Err(SqlTargetError::UnusedBodyString(name.clone()));
        }
        let reads_body = parameters().any(|p| p.source == ParameterSource::Body);
        let of_client =
            |source| matches!(source, ParameterSource::Claims | ParameterSource::Header);
        let is_one_clients = !place.is_open || parameters().any(|p| of_client(p.source));
        let shared_parameters = shared_parameters(place, sql, parameters());
        Ok(Self {
            status: sql.status,
            is_read: place.method.is_safe(),
            reads_body,
            is_one_clients,
            shared_parameters,
            body_strings: sql.body_strings.clone(),
            latencies: Latencies::default(),
            quickness: Quickness::default(),
            unloaded: LeastRecent::over(UNLOADED_WINDOW),
            stateless: Stateless::default(),
            configured: sql.statement.as_str().into(),
            statement,
            local: local.map(Box::new),
            page: page.map(Box::new),
        })
    }
}

impl SqlTarget {
    /// The claims that the statement and the settings name.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let parameters = parameters(&self.statement, self.local.as_deref());
        let claims = parameters.filter(|parameter| parameter.source == ParameterSource::Claims);
        claims.map(|claim| claim.name.as_str())
    }
}

/// Everything of a request that an answer depends on.
fn parameters<'a>(
    statement: &'a SqlStatement,
    local: Option<&'a LocalSettings>,
) -> impl Iterator<Item = &'a Parameter> + Clone {
    let of_settings = local.into_iter().flat_map(LocalSettings::parameters);
    statement.parameters().iter().chain(of_settings)
}

fn shared_parameters<'a>(
    place: SqlPlace<'_>,
    sql: &SqlConfig,
    parameters: impl Iterator<Item = &'a Parameter> + Clone,
) -> Option<Vec<String>> {
    let by_address = |source| matches!(source, ParameterSource::Path | ParameterSource::Query);
    let shared = *place.method == Method::GET
        && place.is_open
        && sql.status == StatusCode::OK
        && parameters.clone().all(|p| by_address(p.source));
    let query = parameters.filter(|p| p.source == ParameterSource::Query);
    let mut names: Vec<_> = query.map(|p| p.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    shared.then_some(names)
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
            settings: Vec::new(),
            role: None,
            roles: None,
            page: None,
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
