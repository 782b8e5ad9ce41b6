//! Lists: of buckets, and of the keys of a repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    Bucket, CommonPrefix, GetBucketLocationInput, GetBucketLocationOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsInput, ListBucketsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass, ObjectVersion, Owner, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::{etag, time_of};
use super::encoding::Encoding;
use super::parameters::UNVERSIONED;
use super::request::{allowed, owed, with_token};
use crate::storage::listing::{Entry, KEYS_MAX, ListQuery, Page};
use crate::storage::{RepositoryRow, Store};

/// Buckets of one answer, as S3 has it.
const BUCKETS_MAX: usize = 10_000;

pub(super) async fn objects_v2(
    store: &Arc<Store>,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let after = match &input.continuation_token {
        Some(token) if !token.is_empty() => after_of(token)?,
        _ => input.start_after.clone().unwrap_or_default(),
    };
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after,
        max: max(input.max_keys)?,
    };
    let page = store
        .index
        .list(owed, &allowed.repository.row.id, &query)
        .await?;
    let encoding = encoding.suiting_page(&page, &query);
    let encoding = encoding.suiting(input.start_after.iter().map(String::as_str));
    let position = page.position;
    let next = page.next.as_ref().map(|last| URL_SAFE_NO_PAD.encode(last));
    let (contents, common_prefixes) = listed(page, encoding, input.fetch_owner.unwrap_or_default());
    let output = ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.text(query.prefix)),
        max_keys: i32::try_from(query.max).ok(),
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: not_empty(input.delimiter).map(|it| encoding.text(it)),
        encoding_type: encoding.named(),
        start_after: input.start_after.map(|it| encoding.text(it)),
        ..ListObjectsV2Output::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

pub(super) async fn objects(
    store: &Arc<Store>,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after: input.marker.clone().unwrap_or_default(),
        max: max(input.max_keys)?,
    };
    let page = store
        .index
        .list(owed, &allowed.repository.row.id, &query)
        .await?;
    let encoding = encoding.suiting_page(&page, &query);
    let position = page.position;
    let next = page.next.clone();
    let (contents, common_prefixes) = listed(page, encoding, true);
    let output = ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.text(query.prefix)),
        marker: Some(encoding.text(query.after)),
        max_keys: i32::try_from(query.max).ok(),
        is_truncated: Some(next.is_some()),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        // As S3 has it: without a delimiter, the last key is the marker.
        next_marker: next
            .filter(|_| !query.delimiter.is_empty())
            .map(|it| encoding.text(it)),
        delimiter: not_empty(input.delimiter).map(|it| encoding.text(it)),
        encoding_type: encoding.named(),
        ..ListObjectsOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

/// As an unversioned bucket has them: one version of each key, `null`.
pub(super) async fn versions(
    store: &Arc<Store>,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let query = ListQuery {
        prefix: input.prefix.unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after: input.key_marker.clone().unwrap_or_default(),
        max: max(input.max_keys)?,
    };
    let page = store
        .index
        .list(owed, &allowed.repository.row.id, &query)
        .await?;
    let encoding = encoding.suiting_page(&page, &query);
    let position = page.position;
    let next = page.next.clone();
    let (contents, common_prefixes) = listed(page, encoding, true);
    let version = |object: Object| ObjectVersion {
        key: object.key,
        size: object.size,
        e_tag: object.e_tag,
        last_modified: object.last_modified,
        owner: object.owner,
        is_latest: Some(true),
        version_id: Some(UNVERSIONED.to_owned()),
        ..ObjectVersion::default()
    };
    let output = ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.text(query.prefix)),
        key_marker: Some(encoding.text(query.after)),
        max_keys: i32::try_from(query.max).ok(),
        is_truncated: Some(next.is_some()),
        next_version_id_marker: next.as_ref().map(|_| UNVERSIONED.to_owned()),
        next_key_marker: next.map(|it| encoding.text(it)),
        versions: Some(contents.into_iter().map(version).collect()),
        common_prefixes: Some(common_prefixes),
        delimiter: not_empty(input.delimiter).map(|it| encoding.text(it)),
        encoding_type: encoding.named(),
        ..ListObjectVersionsOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

pub(super) fn versioning(
    request: &S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    allowed(request)?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

pub(super) fn buckets(
    store: &Store,
    request: &S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let allowed = allowed(request)?;
    let input = &request.input;
    let most = match input.max_buckets.map(usize::try_from) {
        None => BUCKETS_MAX,
        Some(Ok(most @ 1..=BUCKETS_MAX)) => most,
        Some(_) => {
            return Err(s3_error!(
                InvalidArgument,
                "max-buckets must be between 1 and 10000"
            ));
        }
    };
    let after = match &input.continuation_token {
        Some(token) if !token.is_empty() => after_of(token)?,
        _ => String::new(),
    };
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let region = store.region.to_string();
    let is_here = input.bucket_region.as_ref().is_none_or(|it| *it == region);
    let rows = allowed.all().map(|it| &it.row);
    let rows = rows.filter(|row| is_here && row.name.starts_with(prefix) && row.name > after);
    let rows: BTreeMap<_, _> = rows.map(|row| (row.name.as_str(), row)).collect();
    let is_cut = rows.len() > most;
    let rows: Vec<_> = rows.into_values().take(most).collect();
    let last = rows.last().filter(|_| is_cut);
    let bucket = |row: &&RepositoryRow| Bucket {
        name: Some(row.name.clone()),
        creation_date: Some(Timestamp::from(time_of(row.created))),
        ..Bucket::default()
    };
    let output = ListBucketsOutput {
        continuation_token: last.map(|row| URL_SAFE_NO_PAD.encode(&row.name)),
        buckets: Some(rows.iter().map(bucket).collect()),
        owner: Some(owner()),
        prefix: input.prefix.clone(),
    };
    Ok(S3Response::new(output))
}

pub(super) fn head_bucket(
    store: &Store,
    request: &S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    allowed(request)?;
    let output = HeadBucketOutput {
        bucket_region: Some(store.region.to_string()),
        ..HeadBucketOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) fn location(
    request: &S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    allowed(request)?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

/// Whoever has a key; there are no accounts.
pub(super) fn owner() -> Owner {
    Owner {
        display_name: Some("tidegate".to_owned()),
        id: Some("tidegate".to_owned()),
    }
}

fn listed(page: Page, encoding: Encoding, with_owner: bool) -> (Vec<Object>, Vec<CommonPrefix>) {
    let object = |entry: Entry| Object {
        key: Some(encoding.text(entry.key)),
        size: i64::try_from(entry.size).ok(),
        e_tag: Some(etag(&entry.etag)),
        last_modified: Some(Timestamp::from(time_of(entry.modified))),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        owner: with_owner.then(owner),
        ..Object::default()
    };
    let common = |prefix: String| CommonPrefix {
        prefix: Some(encoding.text(prefix)),
    };
    let prefixes = page.common_prefixes.into_iter().map(common).collect();
    (page.entries.into_iter().map(object).collect(), prefixes)
}

fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn max(requested: Option<i32>) -> S3Result<usize> {
    match requested.map(usize::try_from) {
        None => Ok(KEYS_MAX),
        Some(Ok(max)) => Ok(max.min(KEYS_MAX)),
        Some(Err(_)) => Err(s3_error!(InvalidArgument, "max-keys must not be negative")),
    }
}

fn after_of(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.filter(|text| !text.is_empty() && !text.contains('\0'));
    text.ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "The continuation token provided is incorrect"
        )
    })
}
