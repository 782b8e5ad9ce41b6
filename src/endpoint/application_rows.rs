//! Policy rows that leave caching to the application, checked against the endpoints that they cover.

use super::{Backend, Endpoint, EndpointMethod, Found, Router};
use tidegate_model::{ConfigError, Covers, PathPattern};
use tidegate_policy::{PolicyTable, Row};

/// Stands for the value of a path parameter. No row is expected to name it.
const ANY_VALUE: &str = "~";

/// Checks that such rows cover no statement, and that what only they allow is on them.
///
/// # Errors
/// Names the row, or the endpoint.
pub(super) fn check(policies: &PolicyTable, router: &Router) -> Result<(), ConfigError> {
    let rows = || {
        policies
            .rows()
            .filter(|row| row.cache_control().is_application())
    };
    let is_covered = |row: &Row, endpoint: &Endpoint| {
        let path = common_path(row.pattern(), &endpoint.template);
        path.is_some_and(|path| {
            let governing = policies.lookup(&path);
            let is_reached = match &endpoint.method {
                EndpointMethod::Any => true,
                EndpointMethod::One(method) => matches!(
                    router.find(method, &path),
                    Found::Endpoint(found, _) if found.template == endpoint.template
                ),
            };
            is_reached && governing.is_some_and(|it| it.cache_control().is_application())
        })
    };
    for row in rows() {
        let mut statements = router.endpoints().iter().filter(|it| it.sql().is_some());
        if let Some(endpoint) = statements.find(|endpoint| is_covered(row, endpoint)) {
            let why = format!(
                "the row covers `{} {}` ({}), which has `sql` and no `upstream`",
                endpoint.method, endpoint.template, endpoint.place
            );
            let key = "cache_control";
            return Err(ConfigError::of_key(row.place(), key, "application", why));
        }
    }
    for endpoint in router.endpoints() {
        let stores = matches!(endpoint.backend, Backend::Upstream { cache: true, .. });
        let needs_row = stores && endpoint.method == EndpointMethod::Any;
        if needs_row && !rows().any(|row| is_covered(row, endpoint)) {
            let why =
                "with the method `*` it needs a policy row with `cache_control = \"application\"`";
            return Err(ConfigError::of_key(&endpoint.place, "cache", "true", why));
        }
    }
    Ok(())
}

/// A path that a pattern covers and a template matches, if there is one.
fn common_path(pattern: &PathPattern, template: &str) -> Option<String> {
    let mut wanted = pattern.literal().split('/').peekable();
    let mut path: Vec<String> = Vec::new();
    for segment in template.split('/') {
        let is_value = segment.starts_with('{');
        if segment.starts_with("{*") {
            path.extend(wanted.by_ref().map(str::to_owned));
            path.push(ANY_VALUE.to_owned());
            break;
        }
        let Some(literal) = wanted.next() else {
            path.push(if is_value { ANY_VALUE } else { segment }.to_owned());
            continue;
        };
        let is_start = wanted.peek().is_none() && pattern.covers() == Covers::Prefix;
        match (is_value, is_start) {
            (true, true) => path.push(format!("{literal}{ANY_VALUE}")),
            (true, false) => path.push(literal.to_owned()),
            (false, true) if segment.starts_with(literal) => path.push(segment.to_owned()),
            (false, false) if segment == literal => path.push(segment.to_owned()),
            (false, _) => return None,
        }
    }
    let path = path.join("/");
    (wanted.next().is_none() && pattern.matches(&path)).then_some(path)
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use tidegate_model::{Consistency, Place};
    use tidegate_policy::PolicyRow;

    use super::*;
    use crate::endpoint::{
        EndpointAuth, EndpointConfig, RegionTables, RouteTables, Routes, TargetConfig,
        UpstreamTarget,
    };
    use crate::sql::SqlConfig;
    use crate::upstream::{NodeUrl, PositionSource, UpstreamConfig};

    fn upstream() -> NodeUrl {
        "http://127.0.0.1:1".parse().unwrap()
    }

    fn refused(row: &str, endpoints: Vec<EndpointConfig>) -> Option<String> {
        let tables = RouteTables {
            policies: vec![PolicyRow {
                place: Place::Name("row"),
                path: row.to_owned(),
                consistency: Consistency::EVENTUAL,
                cache_control: Some("application".to_owned()),
                session_cookie: false,
                rate_limit: None,
                cors: None,
            }],
            endpoints,
            upstreams: vec![UpstreamConfig::of_url(Place::Name("upstream"), upstream())],
            regions: RegionTables::default(),
        };
        Routes::compile(&tables)
            .err()
            .map(|error| error.to_string())
    }

    fn endpoint(method: EndpointMethod, path: &str, target: TargetConfig) -> EndpointConfig {
        EndpointConfig {
            place: Place::Name("endpoint"),
            method,
            path: path.to_owned(),
            auth: EndpointAuth::None,
            target,
        }
    }

    #[test]
    fn a_row_of_the_application_covers_no_statement() {
        let statement = || {
            let target = TargetConfig::Sql(SqlConfig {
                status: StatusCode::OK,
                statement: "select 1 as number".to_owned(),
                single: false,
                body_strings: Vec::new(),
                settings: Vec::new(),
                role: None,
                roles: None,
                page: None,
            });
            vec![endpoint(
                EndpointMethod::One(Method::GET),
                "/app/{id}",
                target,
            )]
        };
        for row in ["/app/*", "/*", "/app/x", "/app*"] {
            let error = refused(row, statement()).unwrap_or_default();
            assert!(
                error.contains("cache_control") && error.contains("GET /app/{id}"),
                "{row}: {error}"
            );
        }
        assert_eq!(refused("/other/*", statement()), None);
    }

    #[test]
    fn an_endpoint_of_all_methods_is_stored_only_on_such_a_row() {
        let stored = || {
            let target = TargetConfig::Upstream(UpstreamTarget {
                name: upstream().to_string(),
                cache: true,
                position: PositionSource::default(),
            });
            vec![endpoint(EndpointMethod::Any, "/app/{*rest}", target)]
        };
        assert_eq!(refused("/app/static/*", stored()), None);
        let error = refused("/other/*", stored()).unwrap_or_default();
        assert!(error.contains("cache = \"true\""), "{error}");
    }

    #[test]
    fn a_path_of_both_is_found_where_there_is_one() {
        for (pattern, template, expected) in [
            ("/app/*", "/app/{id}", Some("/app/~")),
            ("/app/*", "/app", Some("/app")),
            ("/*", "/a/{b}", Some("/a/~")),
            ("/a/b/*", "/a/{x}/c/{y}", Some("/a/b/c/~")),
            ("/app*", "/apple/{id}", Some("/apple/~")),
            ("/app*", "/{x}", Some("/app~")),
            ("/a/b/c", "/a/{*rest}", None),
            ("/a/b/*", "/a/{*rest}", Some("/a/b/~")),
            ("/app/x", "/app/{id}", Some("/app/x")),
            ("/app/x", "/app/{id}/y", None),
            ("/app/*", "/other/{id}", None),
            ("/app/*", "/apple", None),
            ("/a/b/*", "/a", None),
        ] {
            let found = common_path(&pattern.parse().unwrap(), template);
            assert_eq!(found.as_deref(), expected, "{pattern} {template}");
        }
    }
}
