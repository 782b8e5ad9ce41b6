//! Whether every statement of a configuration can be prepared on a real server.

use futures_util::future::join_all;
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::Routes;
use tidegate_model::ConfigError;

/// Prepares all statements at once.
///
/// # Errors
/// Names the first endpoint whose statement PostgreSQL refuses. A connection that breaks is not an
/// error: the statements are then prepared when they are needed.
pub async fn check_statements(routes: &Routes, client: &Client) -> Result<(), ConfigError> {
    let endpoints: Vec<_> = routes.router.sql_endpoints().collect();
    let texts = endpoints.iter().map(|(_, sql)| sql.statement.text());
    let prepared = join_all(texts.map(|text| client.prepare(text))).await;
    for ((endpoint, sql), prepared) in endpoints.iter().zip(prepared) {
        let Err(error) = prepared else { continue };
        let Some(refusal) = error.as_db_error() else {
            return Ok(());
        };
        let hint = match *refusal.code() {
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_FUNCTION => {
                "; has `tidegate migrate` been run?"
            }
            SqlState::SYNTAX_ERROR => syntax_hint(sql.statement.text(), refusal),
            _ => "",
        };
        let message = format!(
            "sql: {} {} cannot be prepared: {}{hint}",
            endpoint.method,
            endpoint.template,
            refusal.message()
        );
        return Err(ConfigError::new(&endpoint.place.of("sql"), message));
    }
    Ok(())
}

/// The hint for a syntax error at a colon or at the text of a parameter.
fn syntax_hint(text: &str, refusal: &DbError) -> &'static str {
    let Some(&ErrorPosition::Original(position)) = refusal.position() else {
        return "";
    };
    // Counted in characters, from one.
    match text.chars().nth(position.saturating_sub(1) as usize) {
        Some(':') => "; a parameter is :path.x, :query.x, :body.x, :claims.x or :header.x",
        Some('$') => {
            "; a parameter has its own colon, so a slice that ends with one is [1 : :path.x]"
        }
        _ => "",
    }
}
