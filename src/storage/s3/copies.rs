//! `CopyObject` and `UploadPartCopy`.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    ChecksumAlgorithm, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult,
    CopySource, Range, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::access::Allowed;
use super::conditions::{ReadConditions, bytes_of, etag, of_headers, of_write};
use super::digests::{Declared, Said};
use super::hashers::{Checksums, is_kept, with_checksums};
use super::meta::{checked, http_date, meta_of, without_aws_chunked};
use super::objects::{find, source, target};
use super::parameters::UNVERSIONED;
use super::request::{allowed, with_token};
use super::uploads::{part_number, upload_at};
use crate::storage::Store;
use crate::storage::copy::Unchecked;
use crate::storage::index::{Conditions, Meta, NewVersion, Version};
use crate::storage::multipart::put_part;
use crate::storage::owed::Owed;
use crate::storage::registry::new_id;
use crate::storage::source::Source;
use crate::storage::write::{Target, Written};

/// The conditions on what is copied.
macro_rules! source_conditions {
    ($input:expr) => {
        ReadConditions {
            if_match: $input.copy_source_if_match.as_ref(),
            if_none_match: $input.copy_source_if_none_match.as_ref(),
            if_modified_since: $input.copy_source_if_modified_since.as_ref(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.as_ref(),
        }
    };
}

pub(super) async fn object(
    store: &Arc<Store>,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let allowed = allowed(&request)?;
    let (if_match, if_none_match) = of_headers(&request.headers)?;
    let input = &mut request.input;
    let (from, source_key) = source_of(&allowed, &input.copy_source)?;
    let (version, _) = find(store, &from, Owed::STRONG, &source_key).await?;
    check_source(&version, &source_conditions!(input))?;
    let replaces = replaces(&request.headers)?;
    let wanted = wanted(input.checksum_algorithm.as_ref())?;
    let meta = match replaces {
        true => Meta {
            // The bytes stay.
            checksums: version.meta.checksums.clone(),
            ..checked(meta_of!(input))?
        },
        false => version.meta.clone(),
    };
    let key = input.key.clone();
    let target = target(store, &allowed, &key);
    let is_itself = source_key == key && from.repository.row.id == allowed.repository.row.id;
    let (written, checksums) = match (is_itself, target.only) {
        // The version stays, and with it what is said of it.
        (true, Some(_)) if replaces || missing(wanted.as_deref(), &version.meta).is_some() => {
            return Err(s3_error!(
                NotImplemented,
                "neither the metadata nor the checksums of a version can be changed where a copy is added to it"
            ));
        }
        (true, Some(_)) => {
            let conditions = ReadConditions {
                if_match: if_match.as_ref(),
                if_none_match: if_none_match.as_ref(),
                ..ReadConditions::default()
            };
            check_source(&version, &conditions)?;
            target.add_copies(|| source(store, &from), &version).await?;
            let written = Written {
                etag: version.etag.clone(),
                position: None,
            };
            (written, meta.checksums)
        }
        (true, None) if !replaces => {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing \
                 the object's metadata."
            ));
        }
        _ => {
            let conditions = of_write(if_match.as_ref(), if_none_match.as_ref());
            let wanted = wanted.as_deref();
            let from = source(store, &from);
            copied(&target, from, &version, meta, wanted, &conditions).await?
        }
    };
    let output = CopyObjectOutput {
        copy_object_result: Some(result(&written.etag, checksums)),
        ..CopyObjectOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), written.position))
}

pub(super) async fn part(
    store: &Arc<Store>,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let allowed = allowed(&request)?;
    let input = &request.input;
    let number = part_number(input.part_number)?;
    let (from, source_key) = source_of(&allowed, &input.copy_source)?;
    let (version, _) = find(store, &from, Owed::STRONG, &source_key).await?;
    check_source(&version, &source_conditions!(input))?;
    let range = match &input.copy_source_range {
        None => 0..version.size,
        Some(text) => range_of(text, version.size)?,
    };
    let source = source(store, &from);
    let spool = source.body(&version, range, Box::new(Unchecked)).await?;
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    let target = target(store, &allowed, &input.key);
    let part = put_part(&target, upload, number, spool, Checksums::new).await?;
    let output = UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(etag(&part)),
            last_modified: Some(Timestamp::from(std::time::SystemTime::now())),
            ..CopyPartResult::default()
        }),
        ..UploadPartCopyOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Stores the bytes of a version under another key: by the bucket itself if it has them, else through
/// this gateway, which sees them and can compute the checksum that is wanted.
async fn copied(
    target: &Target<'_>,
    from: Source,
    version: &Version,
    mut meta: Meta,
    wanted: Option<&str>,
    conditions: &Conditions,
) -> S3Result<(Written, Checksums)> {
    let missing = missing(wanted, &meta);
    if missing.is_none()
        && let [blob] = &version.blobs[..]
        && !version.etag.contains('-')
        && let Some(bucket) = target.first_alone(version.size)
        && let Some(copy) = target.copied_by_provider(bucket, blob).await?
    {
        let new = NewVersion {
            repository: &target.repository.row.id,
            key: target.key,
            id: &new_id(),
            size: version.size,
            etag: &version.etag,
            sha256: &blob.sha256,
            meta: &meta,
            copies: std::slice::from_ref(&copy.id),
            conditions,
        };
        let commit = target.store.index.put(&new);
        let position = target.commit(std::slice::from_ref(&copy), commit).await?;
        let written = Written {
            etag: version.etag.clone(),
            position,
        };
        return Ok((written, meta.checksums));
    }
    let (check, computed) = Declared::new(Said::computed(missing));
    let all = 0..version.size;
    let spool = from.body(version, all, Box::new(check)).await?;
    let mut checksums = meta.checksums.clone();
    let with_checksums = || {
        meta.checksums.extend(computed.get());
        meta
    };
    let written = target.put(spool, with_checksums, conditions).await?;
    checksums.extend(computed.get());
    Ok((written, checksums))
}

fn result(of: &str, checksums: Checksums) -> CopyObjectResult {
    with_checksums!(
        checksums,
        CopyObjectResult {
            e_tag: Some(etag(of)),
            last_modified: Some(Timestamp::from(std::time::SystemTime::now())),
            ..CopyObjectResult::default()
        }
    )
}

/// Judges the version whose bytes are copied: those that are read afterwards are its own, whatever has
/// become the newest meanwhile.
fn check_source(version: &Version, conditions: &ReadConditions<'_>) -> S3Result<()> {
    let judged = conditions.check(version);
    judged.map_err(|_failed| s3_error!(PreconditionFailed))
}

/// Whether a copy has the metadata of its request, and not those of its source.
fn replaces(headers: &HeaderMap) -> S3Result<bool> {
    let directive = headers.get("x-amz-metadata-directive");
    match directive.map(HeaderValue::as_bytes) {
        None | Some(b"COPY") => Ok(false),
        Some(b"REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "x-amz-metadata-directive must be COPY or REPLACE"
        )),
    }
}

/// The algorithm of the checksum that a copy is to have.
fn wanted(algorithm: Option<&ChecksumAlgorithm>) -> S3Result<Option<String>> {
    let name = algorithm.map(|algorithm| algorithm.as_str().to_ascii_lowercase());
    match name.as_deref().is_none_or(is_kept) {
        true => Ok(name),
        false => Err(s3_error!(
            NotImplemented,
            "x-amz-checksum-algorithm of a copy can only be CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"
        )),
    }
}

/// The same if there is none yet.
fn missing<'a>(algorithm: Option<&'a str>, meta: &Meta) -> Option<&'a str> {
    algorithm.filter(|it| !meta.checksums.contains_key(*it))
}

/// Where a copy comes from.
fn source_of(allowed: &Allowed, source: &CopySource) -> S3Result<(Allowed, String)> {
    let CopySource::Bucket {
        bucket,
        key,
        version_id,
    } = source
    else {
        return Err(s3_error!(
            NotImplemented,
            "only /bucket/key can be copied from"
        ));
    };
    if version_id.as_deref().is_some_and(|it| it != UNVERSIONED) {
        return Err(s3_error!(
            NotImplemented,
            "objects have no versions: versionId can only be null"
        ));
    }
    Ok((allowed.named(bucket)?, key.to_string()))
}

/// `bytes=FIRST-LAST`, which must lie within the source.
fn range_of(text: &str, size: u64) -> S3Result<std::ops::Range<u64>> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be bytes=first-last"
        )
    };
    let range = Range::parse(text).map_err(|_unparsable| invalid())?;
    match range {
        Range::Int {
            last: Some(last), ..
        } if last < size => bytes_of(Some(&range), size),
        Range::Int { last: Some(_), .. } => Err(s3_error!(InvalidRange)),
        _ => Err(invalid()),
    }
}
