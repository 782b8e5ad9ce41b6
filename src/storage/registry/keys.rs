//! The keys of repositories as rows. While a key is rotated it has two secrets, and both hold.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::buckets::{Registry, new_id};
use crate::storage::prepared::Values;
use crate::storage::seal::Cell;
use crate::storage::{KeyMode, KeyPair, MasterKeys, NewKey, StorageError};

pub(in crate::storage) const KEYS: &str = "select id, key_id, secret, repository, mode, next_secret, \
     rotated < now() - interval '24 h' from tidegate.storage_key order by created, id";

/// A key as its row has it.
struct StoredKey {
    pair: KeyPair,
    secret: Vec<u8>,
    next_secret: Option<Vec<u8>>,
}

/// A key as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedKey {
    /// The id of its row.
    pub id: String,
    /// The id that clients send.
    pub key_id: String,
    /// `read`, `write` or `admin`.
    pub mode: String,
    /// Whether it has two secrets.
    pub rotating: bool,
    /// Why it opens nothing, if its secrets cannot be opened.
    pub error: Option<String>,
}

impl ListedKey {
    fn of(keys: &MasterKeys, row: &Row) -> Result<Self, tokio_postgres::Error> {
        let pair = key_pair(keys, row);
        Ok(Self {
            id: row.try_get(0)?,
            key_id: row.try_get(1)?,
            mode: row.try_get(4)?,
            rotating: pair.as_ref().is_ok_and(|pair| pair.next_secret.is_some()),
            error: pair.err().map(|error| error.to_string()),
        })
    }
}

/// The keys among the rows.
pub struct KeyRegistry<'a>(pub Registry<'a>);

impl KeyRegistry<'_> {
    /// Makes a key of a repository.
    ///
    /// # Errors
    /// If there is no such repository.
    pub async fn add(&self, repository: &str, mode: KeyMode) -> Result<NewKey, StorageError> {
        let repository = self.0.repository(repository).await?;
        let key = NewKey::random(new_id(), mode)?;
        let secret = self
            .0
            .keys
            .seal(SECRET.of(&key.id), key.secret.as_bytes())?;
        let sql = "insert into tidegate.storage_key (id, repository, key_id, secret, mode) \
             values ($1, $2, $3, $4, $5)";
        let values: Values<'_> = &[
            (&key.id, Type::TEXT),
            (&repository.id, Type::TEXT),
            (&key.key_id, Type::TEXT),
            (&secret, Type::BYTEA),
            (&mode.as_str(), Type::TEXT),
        ];
        match self.0.run(sql, values).await {
            // It was removed after it was read.
            Err(StorageError::Database(error))
                if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) =>
            {
                Err(StorageError::NotFound("repository", repository.name))
            }
            done => done.map(|_inserted| key),
        }
    }

    /// Returns the keys of a repository, also those whose secrets cannot be opened.
    ///
    /// # Errors
    /// If there is no such repository.
    pub async fn of(&self, repository: &str) -> Result<Vec<ListedKey>, StorageError> {
        let id = self.0.repository(repository).await?.id;
        let sql = format!("select * from ({KEYS}) all_keys where repository = $1");
        let rows = self.0.run(&sql, &[(&id, Type::TEXT)]).await?;
        let listed = rows.iter().map(|row| ListedKey::of(self.0.keys, row));
        Ok(listed.collect::<Result<_, _>>()?)
    }

    /// Makes a second secret of a key, by either of its ids. Both hold until the rotation is finished, or
    /// for 24 hours.
    ///
    /// # Errors
    /// If there is no such key, its secrets cannot be opened, or it has two already.
    pub async fn rotate(&self, id: &str) -> Result<NewKey, StorageError> {
        let stored = self.key(id).await?;
        let is_rotated = || {
            StorageError::InUse(format!(
                "the key `{id}` has two secrets already: finish or cancel its rotation first"
            ))
        };
        if stored.pair.next_secret.is_some() {
            return Err(is_rotated());
        }
        let key = NewKey {
            key_id: stored.pair.key_id.clone(),
            ..NewKey::random(stored.pair.id.clone(), stored.pair.mode)?
        };
        // A rotation that has ended by itself is finished on the way.
        let secret = self
            .0
            .keys
            .seal(SECRET.of(&key.id), exposed(&stored.pair.secret).as_bytes())?;
        let next = self
            .0
            .keys
            .seal(NEXT_SECRET.of(&key.id), key.secret.as_bytes())?;
        let sql = "update tidegate.storage_key set secret = $3, next_secret = $4, rotated = now() \
             where id = $1 and secret = $2 and next_secret is not distinct from $5 returning 1";
        let values: Values<'_> = &[
            (&key.id, Type::TEXT),
            (&stored.secret, Type::BYTEA),
            (&secret, Type::BYTEA),
            (&next, Type::BYTEA),
            (&stored.next_secret, Type::BYTEA),
        ];
        match self.0.run(sql, values).await?.is_empty() {
            true => Err(is_rotated()),
            false => Ok(key),
        }
    }

    /// Ends the rotation of a key, by either of its ids: only its second secret holds.
    ///
    /// # Errors
    /// If there is no such key, its secrets cannot be opened, or it has one.
    pub async fn finish(&self, id: &str) -> Result<(), StorageError> {
        let stored = self.key(id).await?;
        let pair = &stored.pair;
        let secret = pair.next_secret.as_ref().unwrap_or(&pair.secret);
        let secret = self
            .0
            .keys
            .seal(SECRET.of(&pair.id), exposed(secret).as_bytes())?;
        let sql = "update tidegate.storage_key set secret = $2, next_secret = null, rotated = null \
             where id = $1 and next_secret = $3 returning 1";
        let values: Values<'_> = &[
            (&pair.id, Type::TEXT),
            (&secret, Type::BYTEA),
            (&stored.next_secret, Type::BYTEA),
        ];
        match self.0.run(sql, values).await?.is_empty() {
            true => Err(not_rotating(id)),
            false => Ok(()),
        }
    }

    /// Gives the rotation of a key up, by either of its ids: only its first secret holds. So the second one
    /// can be made anew if it was lost before clients had it.
    ///
    /// # Errors
    /// If the key is not being rotated.
    pub async fn cancel(&self, id: &str) -> Result<(), StorageError> {
        // After 24 hours the first secret does not hold any more, and must not do so again.
        let sql = "update tidegate.storage_key set next_secret = null, rotated = null \
             where (id = $1 or key_id = $1) and rotated >= now() - interval '24 h' returning 1";
        let cancelled = self.0.one("key", id, sql).await;
        cancelled.map_err(|error| match error {
            StorageError::NotFound(..) => not_rotating(id),
            error => error,
        })
    }

    /// Removes a key, by either of its ids.
    ///
    /// # Errors
    /// If there is none.
    pub async fn remove(&self, id: &str) -> Result<(), StorageError> {
        let sql = "delete from tidegate.storage_key where id = $1 or key_id = $1 returning 1";
        self.0.one("key", id, sql).await
    }

    async fn key(&self, id: &str) -> Result<StoredKey, StorageError> {
        let sql = format!("select * from ({KEYS}) all_keys where id = $1 or key_id = $1");
        let id_value: &(dyn ToSql + Sync) = &id;
        let rows = self.0.run(&sql, &[(id_value, Type::TEXT)]).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StorageError::NotFound("key", id.to_owned()))?;
        let unusable = |error: StorageError| match error {
            StorageError::Sealed(why) => StorageError::Invalid(format!(
                "the key `{id}` cannot be used: {why}: make another one"
            )),
            error => error,
        };
        Ok(StoredKey {
            pair: key_pair(self.0.keys, row).map_err(unusable)?,
            secret: row.try_get(2)?,
            next_secret: row.try_get(5)?,
        })
    }
}

fn not_rotating(id: &str) -> StorageError {
    StorageError::InUse(format!("the key `{id}` is not being rotated"))
}

/// A column of a key's row that is sealed.
#[derive(Clone, Copy)]
struct SealedColumn(&'static str);

const SECRET: SealedColumn = SealedColumn("secret");
const NEXT_SECRET: SealedColumn = SealedColumn("next_secret");

impl SealedColumn {
    fn of(self, id: &str) -> Cell<'_> {
        Cell {
            table: "storage_key",
            id,
            column: self.0,
        }
    }

    fn open(
        self,
        keys: &MasterKeys,
        id: &str,
        sealed: &[u8],
    ) -> Result<SecretString, StorageError> {
        let secret = String::from_utf8(keys.open(self.of(id), sealed)?);
        let unreadable = |_| StorageError::Sealed("a secret is not readable");
        Ok(secret.map_err(unreadable)?.into())
    }
}

/// Reads a row of [`KEYS`].
pub(in crate::storage) fn key_pair(keys: &MasterKeys, row: &Row) -> Result<KeyPair, StorageError> {
    let (id, mode): (String, &str) = (row.try_get(0)?, row.try_get(4)?);
    let next: Option<&[u8]> = row.try_get(5)?;
    let next = next.map(|sealed| NEXT_SECRET.open(keys, &id, sealed));
    let is_over: Option<bool> = row.try_get(6)?;
    let (secret, next_secret) = match next.transpose()? {
        Some(next) if is_over == Some(true) => (next, None),
        next => (SECRET.open(keys, &id, row.try_get(2)?)?, next),
    };
    Ok(KeyPair {
        key_id: row.try_get(1)?,
        secret,
        next_secret,
        repository: row.try_get(3)?,
        mode: mode
            .parse()
            .map_err(|_unreadable| StorageError::Invalid(format!("a key has the mode `{mode}`")))?,
        id,
    })
}

/// Returns a secret, to verify signatures and to seal it.
pub(in crate::storage) fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}
