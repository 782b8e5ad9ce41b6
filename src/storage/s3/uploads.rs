//! Multipart uploads, until they are completed.

use std::sync::Arc;

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    StorageClass, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::access::Allowed;
use super::body::incoming;
use super::conditions::{etag, time_of};
use super::digests::{Declared, Said};
use super::encoding::Encoding;
use super::hashers::{is_compared, with_checksums};
use super::lists::owner;
use super::meta::{checked, http_date, meta_of, without_aws_chunked};
use super::objects::target;
use super::request::allowed;
use crate::storage::index::Meta;
use crate::storage::listing::ListQuery;
use crate::storage::multipart::{BegunUpload, PARTS_MAX, StoredPart, UploadAt, Uploads, put_part};
use crate::storage::spool::Spool;
use crate::storage::upload_listing::{UploadQuery, list_uploads};
use crate::storage::{StorageError, Store};

/// Parts or uploads of one answer.
const LISTED_MAX: i32 = 1_000;

pub(super) async fn create(
    store: &Arc<Store>,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let allowed = allowed(&request)?;
    let input = &mut request.input;
    let algorithm = input.checksum_algorithm.as_ref();
    let algorithm = algorithm.map(|it| it.as_str().to_ascii_lowercase());
    if !algorithm.as_deref().is_none_or(is_compared) {
        return Err(s3_error!(
            InvalidRequest,
            "x-amz-checksum-algorithm is not one of CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512 and MD5"
        ));
    }
    let meta = checked(meta_of!(input))?;
    let repository = &allowed.repository.row.id;
    let id = Uploads(&store.index)
        .begin(repository, &input.key, &meta)
        .await?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        upload_id: Some(id),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn part(
    store: &Arc<Store>,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let allowed = allowed(&request)?;
    let said = Said::of(&request.headers, request.uri.query())?;
    let (declared, computed) = Declared::of(&mut request, said);
    let input = &mut request.input;
    let number = part_number(input.part_number)?;
    let (bytes, length) = incoming(input.body.take(), input.content_length)?;
    let room = Arc::clone(&store.room);
    let spool = Spool::new(room, bytes, length, Box::new(declared)).map_err(StorageError::from)?;
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    let target = target(store, &allowed, &input.key);
    let stored = put_part(&target, upload, number, spool, || computed.get()).await?;
    let output = with_checksums!(
        computed.get(),
        UploadPartOutput {
            e_tag: Some(etag(&stored)),
            ..UploadPartOutput::default()
        }
    );
    Ok(S3Response::new(output))
}

pub(super) async fn abort(
    store: &Arc<Store>,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let allowed = allowed(&request)?;
    let input = &request.input;
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    Uploads(&store.index).abort(upload).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list_parts(
    store: &Arc<Store>,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let allowed = allowed(&request)?;
    let input = request.input;
    let most = most(input.max_parts)?;
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    let after = input.part_number_marker.unwrap_or_default();
    let mut parts = Uploads(&store.index)
        .parts(upload, after, i64::from(most) + 1)
        .await?;
    let is_truncated = cut(&mut parts, most);
    let part = |part: &StoredPart| {
        with_checksums!(
            part.checksums.clone().unwrap_or_default(),
            Part {
                part_number: Some(part.number),
                e_tag: Some(etag(&part.etag)),
                size: i64::try_from(part.size).ok(),
                last_modified: Some(Timestamp::from(time_of(part.modified))),
            }
        )
    };
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(after),
        next_part_number_marker: parts.last().map(|part| part.number),
        max_parts: Some(most),
        is_truncated: Some(is_truncated),
        parts: Some(parts.iter().map(part).collect()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn list(
    store: &Arc<Store>,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let allowed = allowed(&request)?;
    let input = request.input;
    let query = UploadQuery {
        keys: ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after: input.key_marker.clone().unwrap_or_default(),
            max: usize::try_from(most(input.max_uploads)?).unwrap_or_default(),
        },
        after_id: input.upload_id_marker.clone(),
    };
    let repository = &allowed.repository.row.id;
    let page = list_uploads(&Uploads(&store.index), repository, &query).await?;
    let keys = page.uploads.iter().map(|upload| upload.key.as_str());
    let prefixes = page.common_prefixes.iter().map(String::as_str);
    let asked = [&query.keys.prefix, &query.keys.delimiter, &query.keys.after];
    let asked = asked.into_iter().map(String::as_str);
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let encoding = encoding.suiting(keys.chain(prefixes).chain(asked));
    let upload = |upload: BegunUpload| MultipartUpload {
        key: Some(encoding.text(upload.key)),
        upload_id: Some(upload.id),
        initiated: Some(Timestamp::from(time_of(upload.started))),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..MultipartUpload::default()
    };
    let common = |prefix: String| CommonPrefix {
        prefix: Some(encoding.text(prefix)),
    };
    let is_truncated = page.next.is_some();
    let (next_key, next_id) = page.next.unzip();
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        key_marker: Some(encoding.text(query.keys.after)),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: next_key.map(|it| encoding.text(it)),
        next_upload_id_marker: next_id.flatten(),
        max_uploads: i32::try_from(query.keys.max).ok(),
        is_truncated: Some(is_truncated),
        prefix: input.prefix.map(|it| encoding.text(it)),
        delimiter: input.delimiter.map(|it| encoding.text(it)),
        encoding_type: encoding.named(),
        uploads: Some(page.uploads.into_iter().map(upload).collect()),
        common_prefixes: Some(page.common_prefixes.into_iter().map(common).collect()),
        ..ListMultipartUploadsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) fn upload_at<'a>(allowed: &'a Allowed, key: &'a str, id: &'a str) -> UploadAt<'a> {
    UploadAt {
        repository: &allowed.repository.row.id,
        key,
        id,
    }
}

pub(super) fn part_number(number: i32) -> S3Result<i32> {
    match (1..=PARTS_MAX).contains(&number) {
        true => Ok(number),
        false => Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        )),
    }
}

fn most(requested: Option<i32>) -> S3Result<i32> {
    match requested {
        None => Ok(LISTED_MAX),
        Some(most) if most >= 0 => Ok(most.min(LISTED_MAX)),
        Some(_) => Err(s3_error!(InvalidArgument)),
    }
}

/// Removes what is beyond the limit; whether there was anything. An empty page is the last: nothing says where
/// to go on.
fn cut<T>(all: &mut Vec<T>, most: i32) -> bool {
    let most = usize::try_from(most).unwrap_or_default();
    let is_truncated = most > 0 && all.len() > most;
    all.truncate(most);
    is_truncated
}
