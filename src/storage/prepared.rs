//! The statements of the index, prepared on the connections that they are sent over.

use std::pin::pin;

use smallvec::SmallVec;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row, Statement};

use crate::postgres::pool::Lease;
use crate::sql::{POSITION, is_gone};

/// Values of a statement's parameters, with their types.
pub(super) type Values<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// A statement of the index and the one for the position, as prepared on one connection. The texts are
/// few, and their names do not depend on what a session has set.
pub(super) struct Prepared {
    statement: Statement,
    position: Statement,
}

impl Prepared {
    pub(super) async fn of(lease: &Lease, sql: &str, values: Values<'_>) -> Result<Self, Error> {
        let types: SmallVec<[Type; 16]> = values.iter().map(|(_, it)| it.clone()).collect();
        let client = lease.client();
        let statement = pin!(client.prepare_typed_cached(sql, &types));
        let statement = lease.in_one_go(statement).await?;
        let position = pin!(client.prepare_cached(POSITION));
        let position = lease.in_one_go(position).await?;
        Ok(Self {
            statement,
            position,
        })
    }

    /// Runs the statement; if the server has lost what was prepared, it is prepared anew the next time.
    pub(super) async fn rows(&self, lease: &Lease, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let values: SmallVec<[&(dyn ToSql + Sync); 16]> =
            values.iter().map(|(value, _)| *value).collect();
        let rows = lease.client().query(&self.statement, &values).await;
        rows.inspect_err(|error| forget_if_gone(lease, error))
    }

    pub(super) async fn position(&self, lease: &Lease) -> Result<Vec<Row>, Error> {
        let rows = lease.client().query(&self.position, &[]).await;
        rows.inspect_err(|error| forget_if_gone(lease, error))
    }
}

fn forget_if_gone(lease: &Lease, error: &Error) {
    if is_gone(error) {
        lease.client().statement_cache.clear();
    }
}
