//! `GetObjectAttributes`.

use std::sync::Arc;

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::hashers::with_checksums;
use super::meta::output_of;
use super::objects::find;
use super::request::{allowed, owed, with_token};
use crate::storage::Store;
use crate::storage::index::Version;

const ATTRIBUTES: [&str; 5] = [
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::ETAG,
    ObjectAttributes::OBJECT_PARTS,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
];

pub(super) async fn attributes(
    store: &Arc<Store>,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let allowed = allowed(&request)?;
    let owed = owed(store, &request.headers, &allowed.repository.row.policy)?;
    let input = &request.input;
    let (version, position) = find(store, &allowed, owed, &input.key).await?;
    // They come as one text, or as several.
    let named = input.object_attributes.iter().map(ObjectAttributes::as_str);
    let named: Vec<_> = named.flat_map(|it| it.split(',')).map(str::trim).collect();
    check(&named)?;
    let wants = |name| named.contains(&name);
    let of = output_of(&version, false);
    let is_multipart = version.etag.contains('-');
    let output = GetObjectAttributesOutput {
        e_tag: of.e_tag.filter(|_| wants(ObjectAttributes::ETAG)),
        last_modified: of.last_modified,
        object_size: i64::try_from(version.size)
            .ok()
            .filter(|_| wants(ObjectAttributes::OBJECT_SIZE)),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from_static(StorageClass::STANDARD)),
        checksum: wants(ObjectAttributes::CHECKSUM).then(|| {
            let checksums = version.meta.checksums.clone();
            with_checksums!(
                checksums,
                Checksum {
                    ..Checksum::default()
                }
            )
        }),
        object_parts: (is_multipart && wants(ObjectAttributes::OBJECT_PARTS))
            .then(|| parts_of(&version, input)),
        ..GetObjectAttributesOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

fn check(named: &[&str]) -> S3Result<()> {
    match named.iter().all(|name| ATTRIBUTES.contains(name)) {
        true => Ok(()),
        false => Err(s3_error!(
            InvalidArgument,
            "x-amz-object-attributes can only name ETag, Checksum, ObjectParts, StorageClass and ObjectSize"
        )),
    }
}

/// The parts of a version, a page of them.
fn parts_of(version: &Version, input: &GetObjectAttributesInput) -> GetObjectAttributesParts {
    let after = input.part_number_marker.unwrap_or_default();
    let most = input.max_parts.unwrap_or(1_000).clamp(0, 1_000);
    let all = (1..).zip(&version.blobs).map(|(number, blob)| ObjectPart {
        part_number: Some(number),
        size: i64::try_from(blob.size).ok(),
        ..ObjectPart::default()
    });
    let page = all.filter(|part| part.part_number > Some(after));
    let page = page.take(usize::try_from(most).unwrap_or_default());
    let page: Vec<_> = page.collect();
    let last = page
        .last()
        .and_then(|part| part.part_number)
        .unwrap_or(after);
    let total = i32::try_from(version.blobs.len()).unwrap_or(i32::MAX);
    GetObjectAttributesParts {
        // An empty page is the last: nothing says where to go on.
        is_truncated: Some(last < total && most > 0),
        max_parts: Some(most),
        next_part_number_marker: Some(last),
        part_number_marker: Some(after),
        parts: Some(page),
        total_parts_count: Some(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_that_no_object_has_is_refused() {
        assert!(check(&ATTRIBUTES).is_ok());
        for named in [&["ETag", "Foo"][..], &["etag"][..], &[""][..]] {
            assert!(check(named).is_err(), "{named:?}");
        }
    }
}
