//! Statements are prepared on a real database before they take effect.

use std::time::Duration;

use crate::endpoint::{Routes, check_statements};
use crate::postgres::{Server, Session, connect};
use tidegate_model::ConfigError;

/// Time to reach one node for checking statements. A start waits for it once per node that does
/// not answer, so it is shorter than a request would wait for a connection.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Prepares all statements on the first node that answers, and returns that node; if none is up, they are
/// accepted unchecked.
pub(super) async fn check_on_any_node<'a>(
    servers: &'a [Server],
    session: &Session,
    routes: &Routes,
) -> Result<Option<&'a Server>, ConfigError> {
    for server in servers {
        match connect(server, session, CHECK_TIMEOUT).await {
            Ok(connection) => {
                check_statements(routes, &connection.client).await?;
                return Ok(Some(server));
            }
            Err(error) => tracing::warn!(%server, %error, "cannot check statements here"),
        }
    }
    tracing::warn!("no database is up: statements are checked when they are first used");
    Ok(None)
}
