//! What a client says about an object beside its bytes, and how it is said again.

use http::{HeaderName, HeaderValue};
use s3s::dto::{GetObjectInput, GetObjectOutput, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::conditions::{etag, time_of};
use super::hashers::{Checksums, with_checksums};
use crate::storage::index::{Meta, Version};

/// User metadata of an object, names and values, as S3 has it.
const USER_META_BYTES_MAX: usize = 2 << 10;

/// Makes the client's words about an object one value.
macro_rules! meta_of {
    ($input:expr) => {
        Meta {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input
                .content_encoding
                .take()
                .as_deref()
                .and_then(without_aws_chunked),
            content_language: $input.content_language.take(),
            expires: $input.expires.take().and_then(|date| http_date(&date)),
            user: $input
                .metadata
                .take()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            checksums: Default::default(),
        }
    };
}
pub(super) use meta_of;

pub(super) fn output_of(version: &Version, shows_checksums: bool) -> GetObjectOutput {
    let meta = version.meta.clone();
    let checksums = match shows_checksums {
        true => meta.checksums,
        false => Checksums::default(),
    };
    let expires = meta.expires.as_deref();
    let expires = expires.and_then(|it| Timestamp::parse(TimestampFormat::HttpDate, it).ok());
    let is_multipart = version.etag.contains('-');
    with_checksums!(
        checksums,
        GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: meta.cache_control,
            content_disposition: meta.content_disposition,
            content_encoding: meta.content_encoding,
            content_language: meta.content_language,
            content_type: Some(
                meta.content_type
                    .unwrap_or_else(|| "binary/octet-stream".to_owned()),
            ),
            e_tag: Some(etag(&version.etag)),
            expires,
            last_modified: Some(Timestamp::from(time_of(version.modified))),
            metadata: (!meta.user.is_empty()).then(|| meta.user.into_iter().collect()),
            parts_count: is_multipart
                .then(|| i32::try_from(version.blobs.len()).unwrap_or_default()),
            ..GetObjectOutput::default()
        }
    )
}

pub(super) fn override_headers(output: &mut GetObjectOutput, input: &GetObjectInput) {
    let set = |to: &mut Option<String>, from: &Option<String>| {
        if from.is_some() {
            to.clone_from(from);
        }
    };
    set(&mut output.cache_control, &input.response_cache_control);
    set(
        &mut output.content_disposition,
        &input.response_content_disposition,
    );
    set(
        &mut output.content_encoding,
        &input.response_content_encoding,
    );
    set(
        &mut output.content_language,
        &input.response_content_language,
    );
    set(&mut output.content_type, &input.response_content_type);
    if let Some(expires) = &input.response_expires {
        output.expires = Some(expires.clone());
    }
}

pub(super) fn checked(meta: Meta) -> S3Result<Meta> {
    let bytes: usize = meta
        .user
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > USER_META_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge));
    }
    match can_be_said(&meta) {
        true => Ok(meta),
        false => Err(s3_error!(
            InvalidArgument,
            "what is stored with an object must be what a header can have"
        )),
    }
}

/// Whether headers can have it: fields of a form may have any characters, and user metadata may be encoded.
fn can_be_said(meta: &Meta) -> bool {
    let mut texts = [
        &meta.content_type,
        &meta.cache_control,
        &meta.content_disposition,
        &meta.content_encoding,
        &meta.content_language,
    ]
    .into_iter()
    .flatten();
    let mut user = meta.user.iter();
    texts.all(|text| HeaderValue::from_bytes(text.as_bytes()).is_ok())
        && user.all(|(name, value)| {
            let name = format!("x-amz-meta-{name}");
            HeaderName::from_bytes(name.as_bytes()).is_ok() && !value.contains('\0')
        })
}

/// The coding of the transfer is not one of the object.
pub(super) fn without_aws_chunked(coding: &str) -> Option<String> {
    let kept = coding
        .split(',')
        .map(str::trim)
        .filter(|it| !it.eq_ignore_ascii_case("aws-chunked"));
    let kept = kept.collect::<Vec<_>>().join(", ");
    (!kept.is_empty()).then_some(kept)
}

pub(super) fn http_date(date: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    date.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_have_is_not_stored_with_an_object() {
        let user = |name: &str, value: &str| Meta {
            user: [(name.to_owned(), value.to_owned())].into(),
            ..Meta::default()
        };
        let typed = |text: &str| Meta {
            content_type: Some(text.to_owned()),
            ..Meta::default()
        };
        for meta in [user("a-b", "é\n"), typed("text/plain; charset=\"é\"")] {
            assert!(checked(meta).is_ok());
        }
        for meta in [
            user("a b", "c"),
            user("a", "b\0"),
            typed("a\nb"),
            typed("\0"),
        ] {
            assert!(checked(meta).is_err());
        }
    }

    #[test]
    fn the_coding_of_the_transfer_is_no_coding_of_the_object() {
        for (coding, kept) in [
            ("aws-chunked", None),
            ("AWS-Chunked", None),
            ("gzip, AWS-chunked", Some("gzip")),
            ("deflate,gzip", Some("deflate, gzip")),
        ] {
            assert_eq!(without_aws_chunked(coding).as_deref(), kept, "{coding}");
        }
    }
}
