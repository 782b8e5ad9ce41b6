//! `DeleteObject` and `DeleteObjects`.

use std::sync::Arc;

use s3s::dto::{
    Delete, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETag, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tidegate_model::WalPosition;

use super::body::Watched;
use super::conditions::{of_write, seconds_of};
use super::keys;
use super::parameters::UNVERSIONED;
use super::request::{allowed, with_token};
use crate::storage::Store;
use crate::storage::index::DeleteConditions;
use crate::storage::owed::Owed;

/// Keys of one `DeleteObjects`, as S3 has it.
const DELETES_MAX: usize = 1_000;

pub(super) async fn delete(
    store: &Arc<Store>,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let allowed = allowed(&request)?;
    let input = &request.input;
    let conditions = DeleteConditions {
        etag: of_write(input.if_match.as_ref(), None).if_match,
        size: input.if_match_size,
        modified: input.if_match_last_modified_time.as_ref().map(seconds_of),
    };
    let repository = &allowed.repository.row.id;
    let position = store
        .index
        .delete(repository, &request.input.key, &conditions)
        .await?;
    Ok(with_token(
        store,
        S3Response::new(DeleteObjectOutput::default()),
        position,
    ))
}

pub(super) async fn delete_several(
    store: &Arc<Store>,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let allowed = allowed(&request)?;
    Watched::check(&request.extensions)?;
    if Watched::has(&request.extensions, |it| it.has_section) {
        // The keys would be others.
        return Err(s3_error!(
            NotImplemented,
            "CDATA sections are not implemented here: escape the characters of a key"
        ));
    }
    if Watched::has(&request.extensions, |it| it.has_text_behind) {
        return Err(s3_error!(
            MalformedXML,
            "There is text after the end of the list"
        ));
    }
    let Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > DELETES_MAX {
        return Err(s3_error!(
            MalformedXML,
            "The list must name 1 to {DELETES_MAX} keys"
        ));
    }
    let repository = &allowed.repository.row.id;
    check_all(store, repository, &objects).await?;
    let (mut deleted, mut errors, mut newest) = (Vec::new(), Vec::new(), None);
    let mut objects = objects.into_iter();
    while let Some(object) = objects.next() {
        let key = object.key.clone();
        match delete_one(store, repository, object).await {
            Ok(position) => {
                newest = position.or(newest);
                deleted.push(DeletedObject {
                    key: Some(key),
                    ..DeletedObject::default()
                });
            }
            Err(error) if *error.code() != S3ErrorCode::ServiceUnavailable => {
                errors.push(error_of(&error, key));
            }
            // Nothing was done: the whole request can be sent again.
            Err(error) if deleted.is_empty() => return Err(error),
            // The others would wait as long, one after the other, to fail as well.
            Err(error) => {
                let rest = objects.by_ref().map(|object| object.key);
                let rest = std::iter::once(key).chain(rest);
                errors.extend(rest.map(|key| error_of(&error, key)));
            }
        }
    }
    let output = DeleteObjectsOutput {
        deleted: (!quiet.unwrap_or_default()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..DeleteObjectsOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), newest))
}

/// Deletes the object of one of several keys.
async fn delete_one(
    store: &Store,
    repository: &str,
    object: ObjectIdentifier,
) -> S3Result<Option<WalPosition>> {
    if let Err(refused) = keys::check(&object.key)
        && !is_stored(store, repository, &object.key).await?
    {
        return Err(refused);
    }
    let mut versions = object.version_id.iter();
    if versions.any(|version| version != UNVERSIONED) {
        return Err(s3_error!(
            NotImplemented,
            "objects have no versions, but null"
        ));
    }
    let conditions = DeleteConditions {
        etag: object.e_tag.map(ETag::into_value),
        size: object.size,
        modified: object.last_modified_time.as_ref().map(seconds_of),
    };
    let deleted = store.index.delete(repository, &object.key, &conditions);
    Ok(deleted.await?)
}

/// Refuses all keys because of one whose answer would not say which it is.
async fn check_all(store: &Store, repository: &str, objects: &[ObjectIdentifier]) -> S3Result<()> {
    for object in objects {
        let etag = object.e_tag.as_ref().map_or("", ETag::value);
        if etag.contains('\0') {
            return Err(s3_error!(InvalidArgument, "an ETag cannot contain U+0000"));
        }
        match keys::check(&object.key) {
            Err(error) if *error.code() == S3ErrorCode::KeyTooLongError => {}
            Err(error) if object.key.is_empty() => {
                if !is_stored(store, repository, "").await? {
                    return Err(error);
                }
            }
            checked => checked?,
        }
    }
    Ok(())
}

/// Whether there is an object under a key that no request can store any more: those of an older version could.
/// Nothing else can delete it.
async fn is_stored(store: &Store, repository: &str, key: &str) -> S3Result<bool> {
    if key.contains('\0') {
        return Ok(false);
    }
    let (found, _) = store.index.find(Owed::STRONG, repository, key).await?;
    Ok(found.is_some())
}

fn error_of(error: &S3Error, key: String) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        key: Some(key),
        ..Error::default()
    }
}
