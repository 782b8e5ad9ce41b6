//! Objects: put, get and head.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;
use s3s::dto::{
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput,
    PutObjectOutput, StreamingBlob,
};
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};
use tidegate_model::WalPosition;

use super::access::Allowed;
use super::body::incoming;
use super::conditions::{ReadConditions, bytes_of, etag, of_write};
use super::digests::{Declared, Said};
use super::errors::{no_such_key, no_such_part};
use super::filename;
use super::forms::Form;
use super::hashers::with_checksums;
use super::keys;
use super::meta::{checked, http_date, meta_of, output_of, override_headers, without_aws_chunked};
use super::parameters::check_fields;
use super::ranges::applies;
use super::redirect::redirect;
use super::request::{allowed, owed, with_token};
use crate::storage::index::{Meta, Version};
use crate::storage::owed::Owed;
use crate::storage::read::Reading;
use crate::storage::source::Source;
use crate::storage::spool::Spool;
use crate::storage::write::Target;
use crate::storage::{StorageError, Store};

pub(super) async fn put(
    store: &Arc<Store>,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let allowed = allowed(&request)?;
    let mut said = Said::of(&request.headers, request.uri.query())?;
    if let Some(fields) = Form::fields(&request.method, &request.extensions)? {
        check_fields(&fields)?;
        filename::check(&fields)?;
        keys::check(&request.input.key)?;
        said = said.fields(&fields)?;
    }
    let (declared, computed) = Declared::of(&mut request, said);
    let input = &mut request.input;
    let conditions = of_write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let meta = checked(meta_of!(input))?;
    let (bytes, length) = incoming(input.body.take(), input.content_length)?;
    let room = Arc::clone(&store.room);
    let spool = Spool::new(room, bytes, length, Box::new(declared)).map_err(StorageError::from)?;
    let target = target(store, &allowed, &input.key);
    let with_checksums = || Meta {
        checksums: computed.get(),
        ..meta
    };
    let written = target.put(spool, with_checksums, &conditions).await?;
    let output = with_checksums!(
        computed.get(),
        PutObjectOutput {
            e_tag: Some(etag(&written.etag)),
            ..PutObjectOutput::default()
        }
    );
    Ok(with_token(store, S3Response::new(output), written.position))
}

pub(super) async fn get(
    store: &Arc<Store>,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = &request.input;
    let (mut version, mut position) = find(store, &allowed, owed, &input.key).await?;
    let mut range = range_of(input, &request.headers, &version)?;
    // A member might give the range that a client repeats there although it is one of another version.
    let is_outdated = input.range.is_some() && range.is_none();
    if allowed.repository.row.policy.redirect
        && !is_outdated
        && let Some(answer) = redirect(&source(store, &allowed), &version, input).await
    {
        return Ok(answer);
    }
    let opened = open(store, &allowed, &version, range.as_ref()).await;
    let reading = match opened {
        Ok(reading) => reading,
        Err(failed) => {
            // Its bytes may be gone because another version has replaced it: the request is about that.
            let (newest, at) = find(store, &allowed, Owed::STRONG, &input.key).await?;
            if newest.id == version.id {
                return Err(failed.into());
            }
            (version, position) = (newest, at);
            range = range_of(input, &request.headers, &version)?;
            open(store, &allowed, &version, range.as_ref()).await?
        }
    };
    let wanted = range.clone().unwrap_or(0..version.size);
    let frames = reading.into_stream().map(|chunk| chunk.map(Frame::data));
    let body = Body::http_body_unsync(StreamBody::new(frames));
    let mut output = output_of(&version, input.checksum_mode.is_some() && range.is_none());
    output.body = Some(StreamingBlob::from(body));
    output.content_length = i64::try_from(wanted.end - wanted.start).ok();
    if range.is_some() {
        let last = wanted.end.saturating_sub(1);
        // Makes it a 206.
        output.content_range = Some(format!("bytes {}-{last}/{}", wanted.start, version.size));
    }
    override_headers(&mut output, input);
    Ok(with_token(store, S3Response::new(output), position))
}

pub(super) async fn head(
    store: &Arc<Store>,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = &request.input;
    let (version, position) = find(store, &allowed, owed, &input.key).await?;
    ReadConditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version)?;
    let range = wanted(
        input.part_number,
        input.range.as_ref(),
        &request.headers,
        &version,
    )?;
    let mut of = output_of(&version, input.checksum_mode.is_some() && range.is_none());
    let named = GetObjectInput {
        response_cache_control: input.response_cache_control.clone(),
        response_content_disposition: input.response_content_disposition.clone(),
        response_content_encoding: input.response_content_encoding.clone(),
        response_content_language: input.response_content_language.clone(),
        response_content_type: input.response_content_type.clone(),
        response_expires: input.response_expires.clone(),
        ..GetObjectInput::default()
    };
    override_headers(&mut of, &named);
    let wanted = range.clone().unwrap_or(0..version.size);
    let last = wanted.end.saturating_sub(1);
    let output = HeadObjectOutput {
        accept_ranges: of.accept_ranges,
        cache_control: of.cache_control,
        checksum_crc32: of.checksum_crc32,
        checksum_crc32c: of.checksum_crc32c,
        checksum_crc64nvme: of.checksum_crc64nvme,
        checksum_sha1: of.checksum_sha1,
        checksum_sha256: of.checksum_sha256,
        content_disposition: of.content_disposition,
        content_encoding: of.content_encoding,
        content_language: of.content_language,
        content_length: i64::try_from(wanted.end - wanted.start).ok(),
        content_range: range.map(|_| format!("bytes {}-{last}/{}", wanted.start, version.size)),
        content_type: of.content_type,
        e_tag: of.e_tag,
        expires: of.expires,
        last_modified: of.last_modified,
        metadata: of.metadata,
        parts_count: of.parts_count,
        ..HeadObjectOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

/// Where the body for a key goes.
pub(super) fn target<'a>(store: &'a Store, allowed: &'a Allowed, key: &'a str) -> Target<'a> {
    Target {
        store,
        inventory: &allowed.inventory,
        repository: &allowed.repository,
        key,
        only: allowed.only,
    }
}

/// Finds a version that can be read. A miss that a replica has reported is confirmed by the primary.
pub(super) async fn find(
    store: &Store,
    allowed: &Allowed,
    owed: Owed,
    key: &str,
) -> S3Result<(Version, Option<WalPosition>)> {
    let repository = &allowed.repository.row.id;
    let find = async |owed| -> Result<_, StorageError> {
        let (version, position) = store.index.find(owed, repository, key).await?;
        Ok((version.filter(|it| is_at(allowed, it)), position))
    };
    let mut found = find(owed).await?;
    let is_strong = owed.consistency.level == tidegate_model::Level::Strong;
    if found.0.is_none() && !is_strong {
        found = find(Owed::STRONG).await?;
    }
    let (version, position) = found;
    let version = version.ok_or_else(no_such_key)?;
    Ok((version, position))
}

/// The bytes of a version that a client asks for, none for all, if its conditions hold.
fn range_of(
    input: &GetObjectInput,
    headers: &HeaderMap,
    version: &Version,
) -> S3Result<Option<Range<u64>>> {
    ReadConditions {
        if_match: input.if_match.as_ref(),
        if_none_match: input.if_none_match.as_ref(),
        if_modified_since: input.if_modified_since.as_ref(),
        if_unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(version)?;
    wanted(input.part_number, input.range.as_ref(), headers, version)
}

/// The same by the number of a part, or by a range.
fn wanted(
    part: Option<i32>,
    range: Option<&s3s::dto::Range>,
    headers: &HeaderMap,
    version: &Version,
) -> S3Result<Option<Range<u64>>> {
    match (part, range) {
        (Some(_), Some(_)) => Err(s3_error!(
            InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter"
        )),
        (Some(number), None) => bytes_of_part(version, number).map(Some),
        (None, Some(range)) if applies(headers, version) => {
            bytes_of(Some(range), version.size).map(Some)
        }
        (None, _) => Ok(None),
    }
}

/// Opens bytes of a version, all of them if no range is given.
async fn open(
    store: &Arc<Store>,
    allowed: &Allowed,
    version: &Version,
    range: Option<&Range<u64>>,
) -> Result<Reading, StorageError> {
    let range = range.cloned().unwrap_or(0..version.size);
    Reading::open(source(store, allowed), version, range).await
}

pub(super) fn source(store: &Arc<Store>, allowed: &Allowed) -> Source {
    Source {
        store: Arc::clone(store),
        inventory: Arc::clone(&allowed.inventory),
        repository: Arc::clone(&allowed.repository),
        only: allowed.only,
    }
}

/// Whether a version can be read where the client wants: in a bucket that it has named, all parts.
fn is_at(allowed: &Allowed, version: &Version) -> bool {
    let Some(only) = allowed.only else {
        return true;
    };
    let bucket = &allowed.inventory.buckets[only].row.id;
    let mut blobs = version.blobs.iter();
    blobs.all(|blob| blob.copies.iter().any(|copy| copy.bucket == *bucket))
}

/// The bytes of one part, counted from 1.
fn bytes_of_part(version: &Version, number: i32) -> S3Result<Range<u64>> {
    let index = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1));
    let found = index.and_then(|index| Some((index, version.blobs.get(index)?)));
    let (index, blob) = found.ok_or_else(no_such_part)?;
    let start: u64 = version.blobs[..index].iter().map(|blob| blob.size).sum();
    Ok(start..start + blob.size)
}
