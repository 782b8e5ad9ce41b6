//! Buckets, repositories and keys: rows, as the command line changes them.

use secrecy::ExposeSecret;
use serde::Serialize;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::bucket::is_valid_name;
use super::database::{Values, execute};
use super::seal::Cell;
use super::{
    BucketCredentials, BucketRow, KeyMode, KeyPair, MasterKeys, NewBucket, NewKey,
    RepositoryPolicy, StorageError,
};

/// Members of a repository at most.
const MEMBERS_MAX: usize = 32;

pub(super) const BUCKETS: &str = "select id, name, provider, region, url, credentials, soft_cap, credit, quota, \
     price_out, refused_month is not distinct from tidegate.storage_month(), held, \
     case when written_month = tidegate.storage_month() then written else 0 end \
     from tidegate.storage_bucket order by name";
pub(super) const REPOSITORIES: &str = "select r.id, r.name, r.policy::text, \
     array(select b.name from tidegate.storage_member m join tidegate.storage_bucket b on b.id = m.bucket \
     where m.repository = r.id order by m.position), extract(epoch from r.created)::bigint, r.parent \
     from tidegate.storage_repository r order by r.name";
pub(super) const KEYS: &str =
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
}

/// The rows of one database, and what opens the secrets in them.
pub struct Registry<'a> {
    /// A connection to the primary.
    pub client: &'a Client,
    /// What seals and opens.
    pub keys: &'a MasterKeys,
}

/// A new id: sortable by the time at which it was made.
pub(super) fn new_id() -> String {
    Uuid::now_v7().simple().to_string()
}

impl Registry<'_> {
    /// Adds a bucket.
    ///
    /// # Errors
    /// If the name is taken or not valid, or the URL is not.
    pub async fn add_bucket(
        &self,
        bucket: &NewBucket,
        credentials: Option<&BucketCredentials>,
    ) -> Result<String, StorageError> {
        check_name(&bucket.name)?;
        bucket.location().map_err(StorageError::Invalid)?;
        let id = new_id();
        let sealed = credentials.map(|it| self.seal(&id, it)).transpose()?;
        let sql = "with added as (insert into tidegate.storage_bucket \
             (id, name, provider, region, url, credentials, soft_cap, credit, quota, price_out) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)) \
             insert into tidegate.storage_name (name, bucket) values ($2, $1)";
        let (credit, quota) = (signed(bucket.credit), signed(bucket.quota));
        let values: Values<'_> = &[
            (&id, Type::TEXT),
            (&bucket.name, Type::TEXT),
            (&bucket.provider.as_str(), Type::TEXT),
            (&bucket.region, Type::TEXT),
            (&bucket.url, Type::TEXT),
            (&sealed, Type::BYTEA),
            (&bucket.soft_cap, Type::FLOAT8),
            (&credit, Type::INT8),
            (&quota, Type::INT8),
            (&bucket.price_out, Type::FLOAT8),
        ];
        self.add(&bucket.name, sql, values).await?;
        Ok(id)
    }

    /// Replaces a bucket's credentials.
    ///
    /// # Errors
    /// If there is no such bucket.
    pub async fn set_credentials(
        &self,
        name: &str,
        credentials: &BucketCredentials,
    ) -> Result<(), StorageError> {
        let bucket = self.bucket(name).await?;
        let sealed = self.seal(&bucket.id, credentials)?;
        let sql = "update tidegate.storage_bucket set credentials = $2 where id = $1";
        self.run(sql, &[(&bucket.id, Type::TEXT), (&sealed, Type::BYTEA)])
            .await?;
        Ok(())
    }

    /// Lets a bucket take writes again that has named a quota.
    ///
    /// # Errors
    /// If there is no such bucket.
    pub async fn enable_bucket(&self, name: &str) -> Result<(), StorageError> {
        let sql =
            "update tidegate.storage_bucket set refused_month = null where name = $1 returning 1";
        self.one("bucket", name, sql).await
    }

    /// Removes a bucket that no repository uses and that has no copies.
    ///
    /// # Errors
    /// If there is none, or it is in use.
    pub async fn remove_bucket(&self, name: &str) -> Result<(), StorageError> {
        let sql = "delete from tidegate.storage_bucket where name = $1 returning 1";
        let removed = self.one("bucket", name, sql).await;
        in_use(removed, || {
            format!("the bucket `{name}` is a member of a repository or still has bytes")
        })
    }

    /// Returns all buckets.
    ///
    /// # Errors
    /// If the database fails, or a key does not open the credentials.
    pub async fn buckets(&self) -> Result<Vec<BucketRow>, StorageError> {
        let rows = self.client.query_typed(BUCKETS, &[]).await?;
        rows.iter().map(|row| bucket(self.keys, row)).collect()
    }

    /// Returns a bucket.
    ///
    /// # Errors
    /// If there is none.
    pub async fn bucket(&self, name: &str) -> Result<BucketRow, StorageError> {
        let all = self.buckets().await?.into_iter();
        let found = all.into_iter().find(|it| it.declared.name == name);
        found.ok_or_else(|| StorageError::NotFound("bucket", name.to_owned()))
    }

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
        if members.is_empty() || members.len() > MEMBERS_MAX {
            let why = format!("a repository has 1 to {MEMBERS_MAX} members");
            return Err(StorageError::Invalid(why));
        }
        let all = self.buckets().await?;
        let known = |name: &String| all.iter().any(|it| it.declared.name == *name);
        if let Some(missing) = members.iter().find(|member| !known(member)) {
            return Err(StorageError::NotFound("bucket", missing.clone()));
        }
        let mut named = policy.rules.iter().flat_map(|rule| &rule.members);
        if let Some(other) = named.find(|name| !members.contains(name)) {
            let why = format!("a rule names `{other}`, which is not a member");
            return Err(StorageError::Invalid(why));
        }
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

    fn seal(&self, id: &str, credentials: &BucketCredentials) -> Result<Vec<u8>, StorageError> {
        let text = serde_json::to_vec(credentials).unwrap_or_default();
        self.keys.seal(of_bucket(id), &text)
    }

    async fn add(&self, name: &str, sql: &str, values: Values<'_>) -> Result<(), StorageError> {
        match execute(self.client, sql, values).await {
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                Err(StorageError::NameTaken(name.to_owned()))
            }
            done => Ok(done.map(drop)?),
        }
    }

    /// Runs a statement that returns a row if it has found what has a name.
    async fn one(&self, kind: &'static str, name: &str, sql: &str) -> Result<(), StorageError> {
        let name_value: &(dyn ToSql + Sync) = &name;
        let rows = self.run(sql, &[(name_value, Type::TEXT)]).await?;
        match rows.is_empty() {
            true => Err(StorageError::NotFound(kind, name.to_owned())),
            false => Ok(()),
        }
    }

    async fn run(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StorageError> {
        Ok(execute(self.client, sql, values).await?)
    }
}

/// Says what uses a row, if something does.
fn in_use(
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

pub(super) fn check_name(name: &str) -> Result<(), StorageError> {
    match is_valid_name(name) {
        true => Ok(()),
        false => Err(StorageError::Invalid(format!(
            "the name `{name}` is not valid: expected 3 to 63 lower-case letters, digits, dots and hyphens"
        ))),
    }
}

fn of_bucket(id: &str) -> Cell<'_> {
    Cell {
        table: "storage_bucket",
        id,
        column: "credentials",
    }
}

fn of_key(id: &str) -> Cell<'_> {
    Cell {
        table: "storage_key",
        id,
        column: "secret",
    }
}

/// Reads a row of [`BUCKETS`].
pub(super) fn bucket(keys: &MasterKeys, row: &Row) -> Result<BucketRow, StorageError> {
    let id: String = row.try_get(0)?;
    let provider: &str = row.try_get(2)?;
    let sealed: Option<&[u8]> = row.try_get(5)?;
    let opened = sealed.map(|sealed| keys.open(of_bucket(&id), sealed));
    let credentials = match opened.transpose()? {
        Some(text) => serde_json::from_slice(&text)
            .map_err(|_unreadable| StorageError::Sealed("credentials are not readable"))?,
        None => None,
    };
    let refused: bool = row.try_get(10)?;
    Ok(BucketRow {
        declared: NewBucket {
            name: row.try_get(1)?,
            provider: provider.parse().map_err(|_unparsable| {
                StorageError::Invalid(format!("a bucket has the provider `{provider}`"))
            })?,
            region: row.try_get(3)?,
            url: row.try_get(4)?,
            soft_cap: row.try_get(6)?,
            credit: unsigned(row.try_get(7)?),
            quota: unsigned(row.try_get(8)?),
            price_out: row.try_get(9)?,
        },
        credentials,
        writes: !refused,
        held: unsigned(row.try_get(11)?).unwrap_or_default(),
        written: unsigned(row.try_get(12)?).unwrap_or_default(),
        id,
    })
}

/// Reads a row of [`REPOSITORIES`].
pub(super) fn repository(row: &Row) -> Result<RepositoryRow, StorageError> {
    let policy: &str = row.try_get(2)?;
    let unreadable = |error| StorageError::Invalid(format!("a repository's policy: {error}"));
    Ok(RepositoryRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        policy: serde_json::from_str(policy).map_err(unreadable)?,
        members: row.try_get(3)?,
        created: row.try_get(4)?,
        parent: row.try_get(5)?,
    })
}

/// Reads a row of [`KEYS`].
pub(super) fn key_pair(keys: &MasterKeys, row: &Row) -> Result<KeyPair, StorageError> {
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
pub(super) fn exposed(key: &KeyPair) -> &str {
    key.secret.expose_secret()
}

pub(super) fn signed(bytes: Option<u64>) -> Option<i64> {
    bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

pub(super) fn unsigned(bytes: Option<i64>) -> Option<u64> {
    bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default())
}
