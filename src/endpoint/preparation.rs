//! Whether every statement of a configuration can be prepared on a real server.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::{Endpoint, Routes};
use crate::sql::SqlTarget;
use tidegate_model::ConfigError;

/// Prepares all statements, each as the roles that it will run as, and checks their settings.
///
/// # Errors
/// Names the first endpoint whose statement, role or setting PostgreSQL refuses. A connection that breaks is
/// not an error: the statements are then prepared when they are needed.
pub async fn check_statements(routes: &Routes, client: &Client) -> Result<(), ConfigError> {
    let endpoints = || routes.router.sql_endpoints();
    let has_roles = |(_, sql): &Checked<'_>| roles(sql).next().is_some();
    let own: Vec<_> = endpoints().filter(|checked| !has_roles(checked)).collect();
    prepare_all(client, &own, None).await?;
    check_roles(routes, client).await?;
    for (endpoint, sql) in endpoints() {
        for (name, value) in sql.local.iter().flat_map(|local| local.checked()) {
            check_setting(client, endpoint, name, value).await?;
        }
    }
    Ok(())
}

/// Prepares the statements of endpoints with roles as each of their roles.
///
/// # Errors
/// Names the first endpoint with a role that the gateway's own is not a member of, or whose statement the
/// role cannot run.
async fn check_roles(routes: &Routes, client: &Client) -> Result<(), ConfigError> {
    let mut by_role: BTreeMap<&str, Vec<Checked<'_>>> = BTreeMap::new();
    for (endpoint, sql) in routes.router.sql_endpoints() {
        for role in roles(sql) {
            by_role.entry(role).or_default().push((endpoint, sql));
        }
    }
    for (role, endpoints) in by_role {
        let set = async {
            client.batch_execute("begin read only").await?;
            let set_role = "select pg_catalog.set_config('role', $1, true)";
            client.query_typed(set_role, &[(&role, Type::TEXT)]).await
        };
        if let Err(error) = set.await {
            let Some(refusal) = error.as_db_error() else {
                return Ok(());
            };
            let (endpoint, _) = endpoints[0];
            let why = refusal.message();
            return Err(ConfigError::of_key(&endpoint.place, "roles", role, why));
        }
        prepare_all(client, &endpoints, Some(role)).await?;
        if client.batch_execute("rollback").await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// An endpoint and its statement.
type Checked<'a> = (&'a Endpoint, &'a SqlTarget);

fn roles(sql: &SqlTarget) -> impl Iterator<Item = &str> {
    sql.local.iter().flat_map(|local| local.roles())
}

/// Prepares statements at once.
async fn prepare_all(
    client: &Client,
    endpoints: &[Checked<'_>],
    role: Option<&str>,
) -> Result<(), ConfigError> {
    let texts = endpoints.iter().map(|(_, sql)| sql.statement.text());
    let prepared = join_all(texts.map(|text| client.prepare(text))).await;
    for ((endpoint, sql), prepared) in endpoints.iter().zip(prepared) {
        let Err(error) = prepared else { continue };
        let Some(refusal) = error.as_db_error() else {
            return Ok(());
        };
        let hint = match *refusal.code() {
            // Another one has failed in the same transaction.
            SqlState::IN_FAILED_SQL_TRANSACTION => continue,
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_FUNCTION => {
                "; has `tidegate migrate` been run?"
            }
            SqlState::SYNTAX_ERROR => syntax_hint(sql.statement.text(), refusal),
            _ => "",
        };
        let role = role.map_or_else(String::new, |role| format!(" as {role}"));
        let message = format!(
            "sql: {} {} cannot be prepared{role}: {}{hint}",
            endpoint.method,
            endpoint.template,
            refusal.message()
        );
        return Err(ConfigError::new(&endpoint.place.of("sql"), message));
    }
    Ok(())
}

/// Sets a setting to its constant, or to what it is.
async fn check_setting(
    client: &Client,
    endpoint: &Endpoint,
    name: &str,
    value: Option<&str>,
) -> Result<(), ConfigError> {
    let text =
        "select pg_catalog.set_config($1, coalesce($2, pg_catalog.current_setting($1)), true)";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&value, Type::TEXT)];
    let set = client.query_typed(text, &parameters).await;
    match set.as_ref().map_err(Error::as_db_error) {
        Err(Some(refusal)) => {
            let why = refusal.message();
            Err(ConfigError::of_key(&endpoint.place, "settings", name, why))
        }
        Ok(_) | Err(None) => Ok(()),
    }
}

/// The hint for a syntax error at a colon, at the text of a parameter, or at a name that is written as in other tools.
fn syntax_hint(text: &str, refusal: &DbError) -> &'static str {
    let Some(&ErrorPosition::Original(position)) = refusal.position() else {
        return "";
    };
    hint_at(text, position)
}

/// The hint for a syntax error at a position, which is counted in characters, from one.
fn hint_at(text: &str, position: u32) -> &'static str {
    let mut rest = text.chars().skip(position.saturating_sub(1) as usize);
    match (rest.next(), rest.next()) {
        (Some('$'), Some('0'..='9')) => {
            "; a parameter has its own colon, so a slice that ends with one is [1 : :path.x]"
        }
        (Some(':' | '$'), _) => {
            "; a parameter is :path.x, :query.x, :body.x, :claims.x or :header.x"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_written_as_in_other_tools_is_explained() {
        for (text, position, expected) in [
            ("select $id", 8, "a parameter is :path.x"),
            ("select 'ä', :id", 13, "a parameter is :path.x"),
            ("select (a)[1$1]", 13, "a parameter has its own colon"),
            ("select $", 8, "a parameter is :path.x"),
        ] {
            let hint = hint_at(text, position);
            assert!(hint.contains(expected), "{text}: {hint}");
        }
        assert_eq!(hint_at("select from", 8), "");
        assert_eq!(hint_at("", 1), "");
    }
}
