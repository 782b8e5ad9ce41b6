//! `CompleteMultipartUpload`.

use std::sync::Arc;

use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::body::Watched;
use super::conditions::{etag, of_write};
use super::request::{allowed, with_token};
use super::uploads::upload_at;
use crate::storage::database::Owed;
use crate::storage::index::Version;
use crate::storage::multipart::{PARTS_MAX, StoredPart, UploadAt, Uploads, combined_etag};
use crate::storage::{StorageError, Store};

/// What a client says of the object that it wants.
struct Wanted {
    /// The numbers and `ETags` of its parts, in order.
    parts: Vec<(i32, String)>,
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
    let wanted = Wanted::of(&parts.unwrap_or_default(), input.mpu_object_size)?;
    let conditions = of_write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let upload = upload_at(&allowed, &input.key, &input.upload_id);
    wanted.check(store, upload).await?;
    let completed = Uploads(&store.index)
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
            match version.is_some_and(|version| wanted.has_become(&version, upload.id)) {
                true => position,
                false => return Err(refusal.into()),
            }
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

impl Wanted {
    fn of(parts: &[CompletedPart], size: Option<i64>) -> S3Result<Self> {
        let part = |part: &CompletedPart| {
            let etag = part.e_tag.as_ref().map(|it| it.value().to_owned());
            Some((part.part_number?, etag?))
        };
        let parts: Option<Vec<_>> = parts.iter().map(part).collect();
        let parts = parts.filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| s3_error!(MalformedXML))?;
        if !parts.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let etag = combined_etag(parts.iter().map(|(_, etag)| etag.as_str()));
        Ok(Self {
            etag: etag.ok_or_else(|| s3_error!(InvalidPart))?,
            parts,
            size,
        })
    }

    /// Refuses to put parts together that are not as large as the client says.
    async fn check(&self, store: &Store, upload: UploadAt<'_>) -> S3Result<()> {
        let Some(size) = self.size else {
            return Ok(());
        };
        let uploads = Uploads(&store.index);
        let stored = match uploads.parts(upload, 0, i64::from(PARTS_MAX)).await {
            // It may have been completed already.
            Err(StorageError::NoSuchUpload) => return Ok(()),
            stored => stored?,
        };
        let is_wanted = |part: &&StoredPart| {
            let found = self
                .parts
                .binary_search_by_key(&part.number, |(number, _)| *number);
            found.is_ok()
        };
        let sizes = stored.iter().filter(is_wanted).map(|part| part.size);
        let sum: u64 = sizes.sum();
        match u64::try_from(size) == Ok(sum) {
            true => Ok(()),
            false => Err(s3_error!(
                InvalidRequest,
                "The parts do not have the size that x-amz-mp-object-size says"
            )),
        }
    }

    /// Whether an upload has already become what is wanted: a version of these parts, and of no others.
    fn has_become(&self, version: &Version, upload: &str) -> bool {
        let is_as_large = |size: i64| u64::try_from(size) == Ok(version.size);
        version.id == upload && version.etag == self.etag && self.size.is_none_or(is_as_large)
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;
    use crate::storage::index::Meta;

    fn wanted(number: i32, etag: &str, size: Option<i64>) -> Wanted {
        let part = CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(etag.to_owned())),
            ..CompletedPart::default()
        };
        Wanted::of(&[part], size).unwrap()
    }

    #[test]
    fn an_upload_has_become_only_what_its_own_parts_make() {
        let (one, other) = (
            "d41d8cd98f00b204e9800998ecf8427e",
            "00000000000000000000000000000000",
        );
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
}
