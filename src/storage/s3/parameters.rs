//! What a request may say beside its path: parameters and headers by operation.
//!
//! `s3s` passes over what it does not know, so that `PUT /bucket/key?annotation` would store an object. What
//! would change the meaning of a request and is not served is refused by name, before anything is done.

use http::HeaderMap;
use s3s::dto::PutObjectInput;
use s3s::{S3Error, S3Result, s3_error};

use super::guard::decoded;
use super::keys;

/// Characters of a name that an answer repeats.
const SHOWN_MAX: usize = 64;
/// The version of every object.
pub(super) const UNVERSIONED: &str = "null";

/// Headers that promise something, or change what is done.
const REFUSED_HEADERS: [&str; 3] = [
    "x-amz-tagging",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];
/// The same with all that begin with them.
const REFUSED_BEGINNINGS: [&str; 4] = [
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-rename-source",
    "x-amz-server-side-encryption",
];
/// Of these headers, only one value is what is done anyway.
const FIXED_HEADERS: [(&str, &str); 2] = [
    ("x-amz-bucket-object-lock-enabled", "false"),
    ("x-amz-storage-class", "STANDARD"),
];
/// What the signature of a URL consists of, and headers that SDKs move there, which mean nothing here.
const PRESIGNED: [&str; 12] = [
    "x-amz-acl",
    "x-amz-algorithm",
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
];

/// Refuses a request whose parameters or headers are not those of its operation.
pub(super) fn check(operation: &str, query: &str, headers: &HeaderMap) -> S3Result<()> {
    if let Some(served) = served(operation) {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name);
            if !served.contains(&name.as_str()) && !is_everywhere(&name) {
                return Err(refused("parameter", &name));
            }
            if name == "versionId" && value != UNVERSIONED {
                return Err(s3_error!(
                    NotImplemented,
                    "objects have no versions: versionId can only be null"
                ));
            }
        }
    }
    if operation == "DeleteObjects" && is_in_chunks(headers) {
        // Its digests would be those of another body than the one that arrives.
        return Err(s3_error!(
            NotImplemented,
            "the keys of DeleteObjects cannot be sent in signed chunks or with a trailer"
        ));
    }
    let mut headers = headers.iter();
    let found = headers.find(|(name, value)| is_refused(name.as_str(), value.as_bytes()));
    match found {
        Some((name, _)) => Err(refused("header", name.as_str())),
        None => Ok(()),
    }
}

/// The same for the fields of a form, which are sent in its body and not as headers, and for its key.
pub(super) fn check_fields(input: &PutObjectInput) -> S3Result<()> {
    keys::check(&input.key)?;
    let promised = [
        (
            "x-amz-server-side-encryption",
            input.server_side_encryption.is_some() || input.sse_customer_algorithm.is_some(),
        ),
        ("x-amz-object-lock-mode", input.object_lock_mode.is_some()),
        (
            "x-amz-object-lock-legal-hold",
            input.object_lock_legal_hold_status.is_some(),
        ),
        ("tagging", input.tagging.is_some()),
        (
            "x-amz-website-redirect-location",
            input.website_redirect_location.is_some(),
        ),
    ];
    match promised.iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => Err(refused("field", name)),
        None => Ok(()),
    }
}

fn is_in_chunks(headers: &HeaderMap) -> bool {
    let hash = headers.get("x-amz-content-sha256");
    hash.is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"))
}

fn refused(kind: &str, name: &str) -> S3Error {
    let shown: String = name.chars().take(SHOWN_MAX).collect();
    let shown = shown.escape_debug();
    s3_error!(NotImplemented, "the {kind} {shown} is not implemented here")
}

fn is_refused(name: &str, value: &[u8]) -> bool {
    match FIXED_HEADERS.iter().find(|(fixed, _)| *fixed == name) {
        Some((_, fixed)) => !value.eq_ignore_ascii_case(fixed.as_bytes()),
        None => {
            let mut beginnings = REFUSED_BEGINNINGS.iter();
            REFUSED_HEADERS.contains(&name) || beginnings.any(|it| name.starts_with(it))
        }
    }
}

/// Whether every operation passes over a parameter, as S3 does.
fn is_everywhere(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("x-amz-") {
        Some(rest) => rest.starts_with("checksum-") || PRESIGNED.contains(&name.as_str()),
        // `x-id` is the name of the operation; others are for the logs of whoever sends them.
        None => name.starts_with("x-"),
    }
}

/// The parameters of an operation. None for one that is not served, which `s3s` refuses.
fn served(operation: &str) -> Option<&'static [&'static str]> {
    let served: &'static [&'static str] = match operation {
        "GetObject" | "HeadObject" => &[
            "partNumber",
            "response-cache-control",
            "response-content-disposition",
            "response-content-encoding",
            "response-content-language",
            "response-content-type",
            "response-expires",
            "versionId",
        ],
        "PutObject" | "CopyObject" | "PostObject" => &[],
        "DeleteObject" => &["versionId"],
        "DeleteObjects" => &["delete"],
        "GetObjectAttributes" => &["attributes", "versionId"],
        "CreateMultipartUpload" => &["uploads"],
        "UploadPart" | "UploadPartCopy" => &["partNumber", "uploadId"],
        "CompleteMultipartUpload" | "AbortMultipartUpload" => &["uploadId"],
        "ListParts" => &["max-parts", "part-number-marker", "uploadId"],
        "ListMultipartUploads" => &[
            "delimiter",
            "encoding-type",
            "key-marker",
            "max-uploads",
            "prefix",
            "upload-id-marker",
            "uploads",
        ],
        "ListObjects" => &["delimiter", "encoding-type", "marker", "max-keys", "prefix"],
        "ListObjectsV2" => &[
            "continuation-token",
            "delimiter",
            "encoding-type",
            "fetch-owner",
            "list-type",
            "max-keys",
            "prefix",
            "start-after",
        ],
        "ListObjectVersions" => &[
            "delimiter",
            "encoding-type",
            "key-marker",
            "max-keys",
            "prefix",
            "version-id-marker",
            "versions",
        ],
        "ListBuckets" => &[
            "bucket-region",
            "continuation-token",
            "max-buckets",
            "prefix",
        ],
        "GetBucketLocation" => &["location"],
        "GetBucketVersioning" => &["versioning"],
        "HeadBucket" | "CreateBucket" | "DeleteBucket" => &[],
        _ => return None,
    };
    Some(served)
}

#[cfg(test)]
mod tests;
