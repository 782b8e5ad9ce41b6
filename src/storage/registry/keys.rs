//! Keys of repositories as rows.

use secrecy::ExposeSecret;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{Registry, new_id};
use crate::storage::database::Values;
use crate::storage::seal::Cell;
use crate::storage::{KeyMode, KeyPair, MasterKeys, NewKey, StorageError};

pub(in crate::storage) const KEYS: &str =
    "select id, key_id, secret, repository, mode from tidegate.storage_key order by created, id";

impl Registry<'_> {
    /// Makes a key of a repository.
    ///
    /// # Errors
    /// If there is no such repository.
    pub async fn add_key(&self, repository: &str, mode: KeyMode) -> Result<NewKey, StorageError> {
        let repository = self.repository(repository).await?;
        let key = NewKey::random(new_id(), mode)?;
        let secret = self.keys.seal(of_key(&key.id), key.secret.as_bytes())?;
        let sql = "insert into tidegate.storage_key (id, repository, key_id, secret, mode) \
             values ($1, $2, $3, $4, $5)";
        let values: Values<'_> = &[
            (&key.id, Type::TEXT),
            (&repository.id, Type::TEXT),
            (&key.key_id, Type::TEXT),
            (&secret, Type::BYTEA),
            (&mode.as_str(), Type::TEXT),
        ];
        self.run(sql, values).await?;
        Ok(key)
    }

    /// Returns the keys of a repository.
    ///
    /// # Errors
    /// If there is no such repository.
    pub async fn keys(&self, repository: &str) -> Result<Vec<KeyPair>, StorageError> {
        let id = self.repository(repository).await?.id;
        let rows = self.client.query_typed(KEYS, &[]).await?;
        let all: Result<Vec<_>, _> = rows.iter().map(|row| key_pair(self.keys, row)).collect();
        Ok(all?
            .into_iter()
            .filter(|key| key.repository == id)
            .collect())
    }

    /// Removes a key, by either of its ids.
    ///
    /// # Errors
    /// If there is none.
    pub async fn remove_key(&self, id: &str) -> Result<(), StorageError> {
        let sql = "delete from tidegate.storage_key where id = $1 or key_id = $1 returning 1";
        self.one("key", id, sql).await
    }
}

fn of_key(id: &str) -> Cell<'_> {
    Cell {
        table: "storage_key",
        id,
        column: "secret",
    }
}

/// Reads a row of [`KEYS`].
pub(in crate::storage) fn key_pair(keys: &MasterKeys, row: &Row) -> Result<KeyPair, StorageError> {
    let (id, mode): (String, &str) = (row.try_get(0)?, row.try_get(4)?);
    let sealed: &[u8] = row.try_get(2)?;
    let secret = String::from_utf8(keys.open(of_key(&id), sealed)?);
    let secret = secret.map_err(|_unreadable| StorageError::Sealed("a secret is not readable"))?;
    Ok(KeyPair {
        key_id: row.try_get(1)?,
        secret: secret.into(),
        repository: row.try_get(3)?,
        mode: mode
            .parse()
            .map_err(|_unreadable| StorageError::Invalid(format!("a key has the mode `{mode}`")))?,
        id,
    })
}
/// Returns the secret of a key, to verify signatures.
pub(in crate::storage) fn exposed(key: &KeyPair) -> &str {
    key.secret.expose_secret()
}
