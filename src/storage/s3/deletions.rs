//! `DeleteObject` and `DeleteObjects`.

use std::sync::Arc;

use s3s::dto::{
    Delete, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETag, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::body::Watched;
use super::conditions::{of_write, seconds_of};
use super::keys;
use super::parameters::UNVERSIONED;
use super::passed_over::PassedOver;
use super::request::{allowed, with_token};
use crate::storage::Store;
use crate::storage::index::DeleteConditions;

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
    let passed_over = request.extensions.get::<PassedOver>();
    if passed_over.is_some_and(PassedOver::has_section) {
        // The keys would be others.
        return Err(s3_error!(
            NotImplemented,
            "CDATA sections are not implemented here: escape the characters of a key"
        ));
    }
    let Delete { objects, quiet } = request.input.delete;
    if objects.is_empty() || objects.len() > DELETES_MAX {
        return Err(s3_error!(MalformedXML));
    }
    for object in &objects {
        check(object)?;
    }
    let (mut deleted, mut errors, mut newest) = (Vec::new(), Vec::new(), None);
    for object in objects {
        let ObjectIdentifier {
            key,
            e_tag,
            last_modified_time,
            size,
            version_id,
        } = object;
        if let Err(too_long) = keys::check(&key) {
            errors.push(error_of(&too_long, key));
            continue;
        }
        if version_id.is_some_and(|version| version != UNVERSIONED) {
            let unknown = s3_error!(NotImplemented, "objects have no versions, but null");
            errors.push(error_of(&unknown, key));
            continue;
        }
        let conditions = DeleteConditions {
            etag: e_tag.map(ETag::into_value),
            size,
            modified: last_modified_time.as_ref().map(seconds_of),
        };
        let repository = &allowed.repository.row.id;
        match store.index.delete(repository, &key, &conditions).await {
            Ok(position) => {
                newest = position.or(newest);
                deleted.push(DeletedObject {
                    key: Some(key),
                    ..DeletedObject::default()
                });
            }
            Err(error) => errors.push(error_of(&error.into(), key)),
        }
    }
    let output = DeleteObjectsOutput {
        deleted: (!quiet.unwrap_or_default()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..DeleteObjectsOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), newest))
}

/// Refuses all keys because of one whose answer would not say which it is.
fn check(object: &ObjectIdentifier) -> S3Result<()> {
    let etag = object.e_tag.as_ref().map_or("", ETag::value);
    if etag.contains('\0') {
        return Err(s3_error!(InvalidArgument, "an ETag cannot contain U+0000"));
    }
    match keys::check(&object.key) {
        Err(error) if *error.code() == S3ErrorCode::KeyTooLongError => Ok(()),
        checked => checked,
    }
}

fn error_of(error: &S3Error, key: String) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        key: Some(key),
        ..Error::default()
    }
}
