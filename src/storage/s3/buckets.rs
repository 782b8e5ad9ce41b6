//! Repositories, as admin keys make and remove them.

use std::sync::Arc;

use s3s::dto::{CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::access::{Allowed, denied};
use super::body::Watched;
use super::request::allowed;
use crate::storage::owed::Owed;
use crate::storage::prepared::Values;
use crate::storage::registry::{check_name, new_id};
use crate::storage::{StorageError, Store};

/// A repository with the members and the policy of another.
const CREATE: &str = "with added as (insert into tidegate.storage_repository (id, name, policy, parent) \
     select $1, $2, policy, id from tidegate.storage_repository where id = $3), \
     members as (insert into tidegate.storage_member \
     select $1, bucket, position from tidegate.storage_member where repository = $3) \
     insert into tidegate.storage_name (name, repository) values ($2, $1)";

pub(super) async fn create(
    store: &Arc<Store>,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let allowed = allowed(&request)?;
    Watched::check(&request.extensions)?;
    check_configuration(&request)?;
    let name = &request.input.bucket;
    let is_own = allowed.named(name).is_ok_and(|own| own.only.is_none());
    if !is_own {
        // One that is there may have a name that no new one gets.
        check_name(name).map_err(|_invalid| s3_error!(InvalidBucketName))?;
    }
    let id = new_id();
    let values: Values<'_> = &[
        (&id, Type::TEXT),
        (name, Type::TEXT),
        (&allowed.home.row.id, Type::TEXT),
    ];
    let made = store.index.database.write(CREATE, values).await;
    match made {
        Err(StorageError::Database(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            // As in the first region of S3, making one's own again changes nothing.
            if !is_own {
                return Err(s3_error!(BucketAlreadyExists));
            }
        }
        Err(StorageError::Database(error)) if is_home_gone(&error) => return Err(denied()),
        made => drop(made?),
    }
    store.refresh(Owed::STRONG).await?;
    Ok(S3Response::new(CreateBucketOutput {
        location: Some(format!("/{name}")),
    }))
}

/// Whether the key's own repository, and the key with it, was removed after they were read. A member that was removed
/// meanwhile is none of a second try.
fn is_home_gone(error: &tokio_postgres::Error) -> bool {
    let violated = error.as_db_error();
    let violated = violated.filter(|it| *it.code() == SqlState::FOREIGN_KEY_VIOLATION);
    violated.is_some_and(|it| it.table() != Some("storage_member"))
}

/// Refuses to promise what a repository does not have.
fn check_configuration(request: &S3Request<CreateBucketInput>) -> S3Result<()> {
    let configuration = request.input.create_bucket_configuration.as_ref();
    let promised = match Watched::has(&request.extensions, |it| it.has_tags) {
        true => "tags",
        false if configuration.is_some_and(|it| it.bucket.is_some() || it.location.is_some()) => {
            "directories"
        }
        false => return Ok(()),
    };
    Err(s3_error!(
        NotImplemented,
        "buckets with {promised} are not implemented here"
    ))
}

pub(super) async fn delete(
    store: &Arc<Store>,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let home = allowed(&request)?;
    store.refresh(Owed::STRONG).await?;
    let name = &request.input.bucket;
    let found = Allowed {
        inventory: store.inventory.load_full(),
        ..home
    }
    .named(name)?;
    if found.only.is_some() || found.repository.row.parent.is_none() {
        // The command line removes those that it has made.
        return Err(denied());
    }
    let sql = "select 1 where case when exists \
         (select from tidegate.storage_object where repository = $1) then false \
         else tidegate.storage_remove_repository($1) end";
    let values: Values<'_> = &[(&found.repository.row.id, Type::TEXT)];
    let removed = store.index.database.write(sql, values).await?;
    if removed.rows.is_empty() {
        return Err(S3ErrorCode::BucketNotEmpty.into());
    }
    store.refresh(Owed::STRONG).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}
