//! `CompleteMultipartUpload`.

use std::sync::Arc;

use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::Watched;
use super::conditions::{etag, of_write};
use super::hashers::checksums_in;
use super::request::{allowed, with_token};
use super::uploads::upload_at;
use crate::storage::index::Version;
use crate::storage::multipart::{PARTS_MAX, StoredPart, UploadAt, Uploads, combined_etag};
use crate::storage::owed::Owed;
use crate::storage::{StorageError, Store};

/// What a client says of the object that it wants.
struct Completion {
    /// The numbers and `ETags` of its parts, in order.
    parts: Vec<(i32, String)>,
    /// Checksums of parts: their numbers, algorithms and values.
    checksums: Vec<(i32, &'static str, String)>,
    etag: String,
    size: Option<i64>,
}

pub(super) async fn complete(
    store: &Arc<Store>,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let allowed = allowed(&request)?;
    Watched::check(&request.extensions)?;
    let input = request.input;
    let parts = input.multipart_upload.and_then(|it| it.parts);
    let wanted = Completion::of(&parts.unwrap_or_default(), input.mpu_object_size)?;
    let conditions = of_write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    wanted.check(store, upload).await?;
    let uploads = Uploads(&store.index);
    let completed = uploads
        .complete(upload, &wanted.parts, &wanted.etag, &conditions)
        .await;
    let position = match completed {
        // A client that has not seen the answer asks again: the object that it meets is its own.
        Err(
            refusal @ (StorageError::NoSuchUpload
            | StorageError::ConditionFailed
            | StorageError::NoSuchKey),
        ) => {
            let found = store
                .index
                .find(Owed::STRONG, upload.repository, upload.key);
            let (version, position) = found.await?;
            let is_done = version.is_some_and(|version| wanted.has_become(&version, upload.id));
            if !is_done {
                return Err(refusal.into());
            }
            if !wanted.checksums.is_empty() {
                let parts = uploads.parts_of(upload.id, 0, i64::from(PARTS_MAX));
                wanted.check_checksums(&parts.await?)?;
            }
            position
        }
        completed => completed?,
    };
    let output = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        key: Some(input.key),
        e_tag: Some(etag(&wanted.etag)),
        ..CompleteMultipartUploadOutput::default()
    };
    Ok(with_token(store, S3Response::new(output), position))
}

impl Completion {
    fn of(parts: &[CompletedPart], size: Option<i64>) -> S3Result<Self> {
        let checksums = parts.iter().flat_map(checksums_of).collect();
        let part = |part: &CompletedPart| {
            let etag = part.e_tag.as_ref().map(|it| it.value().to_owned());
            Some((part.part_number?, etag?))
        };
        let parts: Option<Vec<_>> = parts.iter().map(part).collect();
        let parts = parts.filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| {
            s3_error!(
                MalformedXML,
                "The list must name at least one part, each with its number and ETag"
            )
        })?;
        if !parts.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order of their numbers"
            ));
        }
        let etag = combined_etag(parts.iter().map(|(_, etag)| etag.as_str()));
        let etag = etag.ok_or_else(|| s3_error!(InvalidPart, "An ETag is not that of a part"))?;
        Ok(Self {
            parts,
            checksums,
            etag,
            size,
        })
    }

    /// Refuses to put parts together that are not as large as the client says, or have other checksums.
    async fn check(&self, store: &Store, upload: UploadAt<'_>) -> S3Result<()> {
        if self.size.is_none() && self.checksums.is_empty() {
            return Ok(());
        }
        let uploads = Uploads(&store.index);
        let stored = match uploads.parts(upload, 0, i64::from(PARTS_MAX)).await {
            // It may have been completed already.
            Err(StorageError::NoSuchUpload) => return Ok(()),
            stored => stored?,
        };
        self.check_checksums(&stored)?;
        let is_wanted = |part: &&StoredPart| {
            let found = self
                .parts
                .binary_search_by_key(&part.number, |(number, _)| *number);
            found.is_ok()
        };
        let sizes = stored.iter().filter(is_wanted).map(|part| part.size);
        let sum: u64 = sizes.sum();
        match self.size.is_none_or(|size| u64::try_from(size) == Ok(sum)) {
            true => Ok(()),
            false => Err(s3_error!(
                InvalidRequest,
                "The parts do not have the size that x-amz-mp-object-size says"
            )),
        }
    }

    /// Compares the checksums that the client names with those of stored parts, which are in the order of their
    /// numbers. A part that is not there is refused elsewhere; one whose checksums were not kept passes.
    fn check_checksums(&self, stored: &[StoredPart]) -> S3Result<()> {
        let mut named = self.checksums.iter();
        let is_other = |(number, algorithm, value): &(i32, &str, String)| {
            let found = stored.binary_search_by_key(number, |part| part.number);
            let part = found.ok().and_then(|at| stored.get(at));
            let kept = part.and_then(|part| part.checksums.as_ref());
            kept.is_some_and(|kept| kept.get(*algorithm) != Some(value))
        };
        match named.any(is_other) {
            true => Err(s3_error!(
                InvalidPart,
                "A part was not stored with the checksum that the list names for it"
            )),
            false => Ok(()),
        }
    }

    /// Whether an upload has already become what is wanted: a version of these parts, and of no others.
    fn has_become(&self, version: &Version, upload: &str) -> bool {
        let is_as_large = |size: i64| u64::try_from(size) == Ok(version.size);
        version.id == upload && version.etag == self.etag && self.size.is_none_or(is_as_large)
    }
}

/// The checksums that a client names for a part.
fn checksums_of(part: &CompletedPart) -> Vec<(i32, &'static str, String)> {
    let number = part.part_number.unwrap_or_default();
    let part = part.clone();
    let named = checksums_in!(part).into_iter();
    let named = named.filter_map(|(algorithm, value)| Some((number, algorithm, value?)));
    named.collect()
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;
    use crate::storage::index::Meta;

    const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn wanted(number: i32, etag: &str, size: Option<i64>) -> Completion {
        let part = CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(etag.to_owned())),
            ..CompletedPart::default()
        };
        Completion::of(&[part], size).unwrap()
    }

    #[test]
    fn an_upload_has_become_only_what_its_own_parts_make() {
        let (one, other) = (EMPTY, "00000000000000000000000000000000");
        let version = Version {
            id: "upload".to_owned(),
            size: 5,
            etag: wanted(1, one, None).etag,
            meta: Meta::default(),
            modified: 0,
            blobs: Vec::new(),
        };
        for (of, upload, expected) in [
            (wanted(1, one, None), "upload", true),
            (wanted(1, one, Some(5)), "upload", true),
            (wanted(1, one, None), "another", false),
            (wanted(1, other, None), "upload", false),
            (wanted(1, one, Some(6)), "upload", false),
            (wanted(1, one, Some(-1)), "upload", false),
        ] {
            let (etag, size) = (&of.etag, of.size);
            assert_eq!(of.has_become(&version, upload), expected, "{etag} {size:?}");
        }
    }

    #[test]
    fn a_checksum_that_a_part_did_not_come_with_is_refused() {
        let stored = |checksums: Option<&[(&str, &str)]>| StoredPart {
            number: 3,
            size: 0,
            etag: EMPTY.to_owned(),
            modified: 0,
            checksums: checksums.map(|pairs| {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                pairs.collect()
            }),
        };
        let part = CompletedPart {
            part_number: Some(3),
            e_tag: Some(ETag::Strong(EMPTY.to_owned())),
            checksum_crc32: Some("AAAAAA==".to_owned()),
            ..CompletedPart::default()
        };
        let named = Completion::of(&[part], None).unwrap();
        let is_right = |checksums| named.check_checksums(&[stored(checksums)]).is_ok();
        assert!(is_right(Some(&[("crc32", "AAAAAA==")])));
        assert!(!is_right(Some(&[
            ("crc32", "AAAAAQ=="),
            ("sha1", "AAAAAA==")
        ])));
        assert!(!is_right(Some(&[])));
        assert!(is_right(None), "they were not kept");
        assert!(named.check_checksums(&[]).is_ok());
        let unnamed = wanted(3, EMPTY, None);
        assert!(unnamed.check_checksums(&[stored(Some(&[]))]).is_ok());
    }
}
