//! Statements about buckets, repositories and keys.

use futures_util::future::join3;
use tokio_postgres::{Client, Row};

use super::StorageError;
use super::database::IndexDatabase;
use super::prepared::Values;

/// Where statements about rows are run: on the primary, over the connections of a gateway or that of a
/// command.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    Gateway(&'a IndexDatabase),
    CommandLine(&'a Client),
}

impl Rows<'_> {
    /// Runs one statement, in a transaction of its own.
    pub(super) async fn run(self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StorageError> {
        match self {
            Self::Gateway(database) => Ok(database.write(sql, values).await?.rows),
            Self::CommandLine(client) => Ok(execute(client, sql, values).await?),
        }
    }
}

async fn execute(
    client: &Client,
    sql: &str,
    values: Values<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let (begun, rows, committed) = join3(
        client.batch_execute("begin isolation level read committed read write"),
        client.query_typed(sql, values),
        client.batch_execute("commit"),
    )
    .await;
    begun?;
    let rows = rows?;
    committed?;
    Ok(rows)
}
