//! Repositories and their keys as rows.

use secrecy::ExposeSecret;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::buckets::{Registry, check_name, in_use, new_id};
use crate::storage::database::Values;
use crate::storage::seal::Cell;
use crate::storage::{KeyMode, KeyPair, MasterKeys, NewKey, RepositoryPolicy, StorageError};

/// Members of a repository at most.
const MEMBERS_MAX: usize = 32;

pub(in crate::storage) const REPOSITORIES: &str = "select r.id, r.name, r.policy::text, \
     array(select b.name from tidegate.storage_member m join tidegate.storage_bucket b on b.id = m.bucket \
     where m.repository = r.id order by m.position), extract(epoch from r.created)::bigint, r.parent, \
     coalesce(r.restores_due <= now(), true), r.mirror_after is not null \
     from tidegate.storage_repository r order by r.name";
pub(in crate::storage) const KEYS: &str =
    "select id, key_id, secret, repository, mode from tidegate.storage_key order by created, id";

/// A repository as the database has it.
#[derive(Debug, Clone, Serialize)]
pub struct RepositoryRow {
    /// Its id.
    pub id: String,
    /// What clients call it.
    pub name: String,
    /// Its members, in order of preference.
    #[serde(rename = "buckets")]
    pub members: Vec<String>,
    /// What it does with them.
    #[serde(flatten)]
    pub policy: RepositoryPolicy,
    /// When it was made, in seconds since 1970.
    #[serde(skip)]
    pub created: i64,
    /// The id of the repository whose admin key has made it.
    #[serde(skip)]
    pub parent: Option<String>,
    /// Whether it is time to read a sample of its mirror back.
    #[serde(skip)]
    pub restores_due: bool,
    /// Whether existing objects are still to become tasks of its mirror.
    #[serde(skip)]
    pub is_mirror_changed: bool,
}

impl Registry<'_> {
    /// Adds a repository.
    ///
    /// # Errors
    /// If the name is taken or not valid, or a member does not exist.
    pub async fn add_repository(
        &self,
        name: &str,
        members: &[String],
        policy: &RepositoryPolicy,
    ) -> Result<String, StorageError> {
        check_name(name)?;
        self.check_policy(members, policy).await?;
        let (id, policy) = (new_id(), serde_json::to_string(policy).unwrap_or_default());
        let sql = "with added as (insert into tidegate.storage_repository (id, name, policy) \
             values ($1, $2, $3::jsonb)), members as (insert into tidegate.storage_member \
             select $1, b.id, given.position from unnest($4) with ordinality given (name, position) \
             join tidegate.storage_bucket b on b.name = given.name) \
             insert into tidegate.storage_name (name, repository) values ($2, $1)";
        let values: Values<'_> = &[
            (&id, Type::TEXT),
            (&name, Type::TEXT),
            (&policy, Type::TEXT),
            (&members, Type::TEXT_ARRAY),
        ];
        self.add(name, sql, values).await?;
        Ok(id)
    }

    /// Gives a repository other members, or another policy. What it has in buckets that are members no more
    /// stays there, and is read.
    ///
    /// # Errors
    /// If a member does not exist.
    pub async fn change_repository(&self, changed: &RepositoryRow) -> Result<(), StorageError> {
        self.check_policy(&changed.members, &changed.policy).await?;
        let policy = serde_json::to_string(&changed.policy).unwrap_or_default();
        let sql = "select tidegate.storage_change_repository($1, $2::jsonb, $3)";
        let values: Values<'_> = &[
            (&changed.id, Type::TEXT),
            (&policy, Type::TEXT),
            (&changed.members, Type::TEXT_ARRAY),
        ];
        self.run(sql, values).await.map(drop)
    }

    async fn check_policy(
        &self,
        members: &[String],
        policy: &RepositoryPolicy,
    ) -> Result<(), StorageError> {
        if members.is_empty() || members.len() > MEMBERS_MAX {
            let why = format!("a repository has 1 to {MEMBERS_MAX} members");
            return Err(StorageError::Invalid(why));
        }
        let all = self.buckets().await?;
        let known = |name: &String| all.iter().any(|it| it.declared.name == *name);
        if let Some(missing) = members.iter().find(|member| !known(member)) {
            return Err(StorageError::NotFound("bucket", missing.clone()));
        }
        if let Some(mirror) = &policy.mirror {
            mirror.suits(members).map_err(StorageError::Invalid)?;
            let to = all.iter().find(|it| it.declared.name == mirror.to);
            let to = to.ok_or_else(|| StorageError::NotFound("bucket", mirror.to.clone()))?;
            if to.draining {
                let why = format!("mirror: `{}` is drained", mirror.to);
                return Err(StorageError::Invalid(why));
            }
        }
        let mut named = policy.rules.iter().flat_map(|rule| &rule.members);
        if let Some(other) = named.find(|name| !members.contains(name)) {
            let why = format!("a rule names `{other}`, which is not a member");
            return Err(StorageError::Invalid(why));
        }
        Ok(())
    }

    /// Removes a repository without objects, and its keys.
    ///
    /// # Errors
    /// If there is none, or it has objects.
    pub async fn remove_repository(&self, name: &str) -> Result<(), StorageError> {
        let sql = "select 1 from tidegate.storage_repository \
             where name = $1 and tidegate.storage_remove_repository(id)";
        let removed = self.one("repository", name, sql).await;
        in_use(removed, || format!("the repository `{name}` has objects"))
    }

    /// Returns all repositories.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, StorageError> {
        let rows = self.client.query_typed(REPOSITORIES, &[]).await?;
        rows.iter().map(repository).collect()
    }

    /// Returns a repository.
    ///
    /// # Errors
    /// If there is none.
    pub async fn repository(&self, name: &str) -> Result<RepositoryRow, StorageError> {
        let all = self.repositories().await?;
        let found = all.into_iter().find(|it| it.name == name);
        found.ok_or_else(|| StorageError::NotFound("repository", name.to_owned()))
    }

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

/// Reads a row of [`REPOSITORIES`].
pub(in crate::storage) fn repository(row: &Row) -> Result<RepositoryRow, StorageError> {
    let policy: &str = row.try_get(2)?;
    let unreadable = |error| StorageError::Invalid(format!("a repository's policy: {error}"));
    Ok(RepositoryRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        policy: serde_json::from_str(policy).map_err(unreadable)?,
        members: row.try_get(3)?,
        created: row.try_get(4)?,
        parent: row.try_get(5)?,
        restores_due: row.try_get(6)?,
        is_mirror_changed: row.try_get(7)?,
    })
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
