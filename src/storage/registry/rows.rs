//! What rows of every kind have in common.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::storage::bucket::is_valid_name;
use crate::storage::database::{Values, execute};
use crate::storage::{MasterKeys, StorageError};

/// The rows of one database, and what opens the secrets in them.
pub struct Registry<'a> {
    /// A connection to the primary.
    pub client: &'a Client,
    /// What seals and opens.
    pub keys: &'a MasterKeys,
}

/// A new id: sortable by the time at which it was made.
pub(in crate::storage) fn new_id() -> String {
    Uuid::now_v7().simple().to_string()
}

impl Registry<'_> {
    pub(super) async fn add(
        &self,
        name: &str,
        sql: &str,
        values: Values<'_>,
    ) -> Result<(), StorageError> {
        match execute(self.client, sql, values).await {
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(StorageError::NameTaken(name.to_owned()))
            }
            done => Ok(done.map(drop)?),
        }
    }

    /// Runs a statement that returns a row if it has found what has a name.
    pub(super) async fn one(
        &self,
        kind: &'static str,
        name: &str,
        sql: &str,
    ) -> Result<(), StorageError> {
        let name_value: &(dyn ToSql + Sync) = &name;
        let rows = self.run(sql, &[(name_value, Type::TEXT)]).await?;
        match rows.is_empty() {
            true => Err(StorageError::NotFound(kind, name.to_owned())),
            false => Ok(()),
        }
    }

    pub(super) async fn run(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        Ok(execute(self.client, sql, values).await?)
    }
}

/// Says what uses a row, if something does.
pub(super) fn in_use(
    removed: Result<(), StorageError>,
    why: impl FnOnce() -> String,
) -> Result<(), StorageError> {
    match removed {
        Err(StorageError::Database(error))
            if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) =>
        {
            Err(StorageError::InUse(why()))
        }
        removed => removed,
    }
}

pub(in crate::storage) fn check_name(name: &str) -> Result<(), StorageError> {
    match is_valid_name(name) {
        true => Ok(()),
        false => Err(StorageError::Invalid(format!(
            "the name `{name}` is not valid: expected 3 to 63 lower-case letters, digits, dots and hyphens"
        ))),
    }
}

pub(in crate::storage) fn signed(bytes: Option<u64>) -> Option<i64> {
    bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

pub(in crate::storage) fn unsigned(bytes: Option<i64>) -> Option<u64> {
    bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default())
}
