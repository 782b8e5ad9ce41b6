//! Buckets as rows, and what rows of every kind have in common.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::named::{by_id_or_name, check_name};
use crate::storage::prepared::Values;
use crate::storage::rows::Rows;
use crate::storage::seal::Cell;
use crate::storage::{BucketCredentials, BucketRow, MasterKeys, NewBucket, StorageError};

pub(in crate::storage) const BUCKETS: &str = "select id, name, provider, region, url, credentials, soft_cap, credit, quota, \
     price_out, refused_month is not distinct from tidegate.storage_month(), held, \
     case when written_month = tidegate.storage_month() then written else 0 end, draining, public_only \
     from tidegate.storage_bucket order by name";

/// The rows of one database, and what opens the secrets in them.
pub struct Registry<'a> {
    pub(in crate::storage) rows: Rows<'a>,
    /// What seals and opens.
    pub(in crate::storage) keys: &'a MasterKeys,
}

/// A new id: sortable by the time at which it was made.
pub(in crate::storage) fn new_id() -> String {
    Uuid::now_v7().simple().to_string()
}

impl<'a> Registry<'a> {
    /// The rows as a command reaches them, over its connection to the primary.
    #[must_use]
    pub fn new(client: &'a Client, keys: &'a MasterKeys) -> Self {
        let rows = Rows::CommandLine(client);
        Self { rows, keys }
    }
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
        check_limits(bucket)?;
        bucket.check_url().map_err(StorageError::Invalid)?;
        bucket
            .opened_by(credentials)
            .map_err(StorageError::Invalid)?;
        let id = new_id();
        let sealed = credentials.map(|it| self.seal(&id, it)).transpose()?;
        let sql = "with added as (insert into tidegate.storage_bucket \
             (id, name, provider, region, url, credentials, soft_cap, credit, quota, price_out, \
             public_only) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)) \
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
            (&bucket.public_only, Type::BOOL),
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

    /// Lets a bucket take writes again that has named a quota, or that was drained; by its name or its id.
    ///
    /// # Errors
    /// If there is no such bucket.
    pub async fn enable_bucket(&self, name: &str) -> Result<(), StorageError> {
        let bucket = self.bucket(name).await?;
        let sql = "with undrained as (delete from tidegate.storage_task \
             where bucket = $1 and kind = 'drain') \
             update tidegate.storage_bucket set refused_month = null, draining = false \
             where id = $1 returning 1";
        self.one("bucket", &bucket.id, sql).await
    }

    /// Removes a bucket that no repository uses and that has no copies; by its name or its id.
    ///
    /// # Errors
    /// If there is none, or it is in use.
    pub async fn remove_bucket(&self, name: &str) -> Result<(), StorageError> {
        let bucket = self.bucket(name).await?;
        let sql = "delete from tidegate.storage_bucket where id = $1 returning 1";
        let removed = self.one("bucket", &bucket.id, sql).await;
        in_use(removed, || {
            format!(
                "the bucket `{}` is a member or the mirror of a repository, or still has bytes",
                bucket.declared.name
            )
        })
    }

    /// Returns all buckets, also those whose credentials cannot be opened.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn buckets(&self) -> Result<Vec<BucketRow>, StorageError> {
        let rows = self.run(BUCKETS, &[]).await?;
        rows.iter().map(|row| bucket(self.keys, row)).collect()
    }

    /// Returns a bucket, by its id or else its name.
    ///
    /// # Errors
    /// If there is none.
    pub async fn bucket(&self, name: &str) -> Result<BucketRow, StorageError> {
        let all = self.buckets().await?;
        let found = by_id_or_name(all, name, |it| [&*it.id, &*it.declared.name]);
        found.ok_or_else(|| StorageError::NotFound("bucket", name.to_owned()))
    }

    pub(super) fn seal(
        &self,
        id: &str,
        credentials: &BucketCredentials,
    ) -> Result<Vec<u8>, StorageError> {
        let text = serde_json::to_vec(credentials).unwrap_or_default();
        self.keys.seal(of_bucket(id), &text)
    }

    pub(super) async fn add(
        &self,
        name: &str,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        match self.run(sql, values).await {
            Err(StorageError::Database(error))
                if error.code() == Some(&SqlState::UNIQUE_VIOLATION) =>
            {
                Err(StorageError::NameTaken(name.to_owned()))
            }
            done => done,
        }
    }

    /// Runs a statement that returns a row if it has found what has a name, or an id.
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

    pub(in crate::storage) async fn run(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        self.rows.run(sql, values).await
    }
}

fn of_bucket(id: &str) -> Cell<'_> {
    Cell {
        table: "storage_bucket",
        id,
        column: "credentials",
    }
}

fn opened(keys: &MasterKeys, id: &str, sealed: &[u8]) -> Result<BucketCredentials, StorageError> {
    let text = keys.open(of_bucket(id), sealed)?;
    let unreadable = |_| StorageError::Sealed("they are not readable");
    serde_json::from_slice(&text).map_err(unreadable)
}

/// Reads a row of [`BUCKETS`].
pub(in crate::storage) fn bucket(keys: &MasterKeys, row: &Row) -> Result<BucketRow, StorageError> {
    let id: String = row.try_get(0)?;
    let provider: &str = row.try_get(2)?;
    let sealed: Option<&[u8]> = row.try_get(5)?;
    // One that cannot be opened is shown as such, and holds no other up.
    let (credentials, broken) = match sealed.map(|sealed| opened(keys, &id, sealed)).transpose() {
        Ok(credentials) => (credentials, None),
        Err(why) => (None, Some(format!("credentials: {why}"))),
    };
    let (refused, draining): (bool, bool) = (row.try_get(10)?, row.try_get(13)?);
    let row = BucketRow {
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
            public_only: row.try_get(14)?,
        },
        credentials,
        broken,
        writes: !refused && !draining,
        draining,
        held: unsigned(row.try_get(11)?).unwrap_or_default(),
        written: unsigned(row.try_get(12)?).unwrap_or_default(),
        id,
    };
    Ok(row.judged())
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

pub(super) fn check_limits(bucket: &NewBucket) -> Result<(), StorageError> {
    let is_number_of_bytes = |bytes: Option<u64>| bytes.is_none_or(|it| i64::try_from(it).is_ok());
    let why = if !(0.0..=1.0).contains(&bucket.soft_cap) {
        "softCap: expected a share from 0 to 1"
    } else if !is_number_of_bytes(bucket.credit) {
        "credit: expected at most 9223372036854775807 bytes"
    } else if !is_number_of_bytes(bucket.quota) {
        "quota: expected at most 9223372036854775807 bytes"
    } else if bucket
        .price_out
        .is_some_and(|price| !(0.0..1e9).contains(&price))
    {
        "priceOut: expected USD for a GB that is read"
    } else {
        return Ok(());
    };
    Err(StorageError::Invalid(why.to_owned()))
}

pub(in crate::storage) fn signed(bytes: Option<u64>) -> Option<i64> {
    bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

pub(in crate::storage) fn unsigned(bytes: Option<i64>) -> Option<u64> {
    bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default())
}
