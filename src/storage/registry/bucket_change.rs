//! A change of a bucket, as one statement.

use tokio_postgres::types::Type;

use super::buckets::{Registry, check_limits, signed};
use crate::storage::prepared::Values;
use crate::storage::{BucketChange, BucketRow, NewBucket, StorageError};

/// Changes a bucket in one statement: how much may be written to it, what reading costs, what opens it. Two
/// changes of different fields at the same time both hold.
///
/// # Errors
/// If a limit is not one, or there is no such bucket.
pub(in crate::storage) async fn change_bucket(
    registry: &Registry<'_>,
    before: &BucketRow,
    change: &BucketChange,
) -> Result<(), StorageError> {
    let declared = &before.declared;
    check_limits(&NewBucket {
        soft_cap: change.soft_cap.unwrap_or(declared.soft_cap),
        credit: change.credit.unwrap_or(declared.credit),
        quota: change.quota.unwrap_or(declared.quota),
        price_out: change.price_out.unwrap_or(declared.price_out),
        ..declared.clone()
    })?;
    let sealed = change.credentials.as_ref();
    let sealed = sealed.map(|it| registry.seal(&before.id, it)).transpose()?;
    let sql = "with undrained as (delete from tidegate.storage_task \
         where bucket = $1 and kind = 'drain' and $10) \
         update tidegate.storage_bucket set soft_cap = coalesce($2, soft_cap), \
         credit = case when $3 then $4 else credit end, quota = case when $5 then $6 else quota end, \
         price_out = case when $7 then $8 else price_out end, credentials = coalesce($9, credentials), \
         refused_month = case when not $10 then refused_month end, draining = draining and not $10 \
         where id = $1 returning 1";
    let values: Values<'_> = &[
        (&before.id, Type::TEXT),
        (&change.soft_cap, Type::FLOAT8),
        (&change.credit.is_some(), Type::BOOL),
        (&signed(change.credit.flatten()), Type::INT8),
        (&change.quota.is_some(), Type::BOOL),
        (&signed(change.quota.flatten()), Type::INT8),
        (&change.price_out.is_some(), Type::BOOL),
        (&change.price_out.flatten(), Type::FLOAT8),
        (&sealed, Type::BYTEA),
        (&change.enable, Type::BOOL),
    ];
    match registry.run(sql, values).await?.is_empty() {
        true => Err(StorageError::NotFound("bucket", declared.name.clone())),
        false => Ok(()),
    }
}
