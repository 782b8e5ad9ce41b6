//! What a request may say beside its path: parameters and headers by operation.
//!
//! `s3s` passes over what it does not know, so that `PUT /bucket/key?annotation` would store an object. What
//! would change the meaning of a request and is not served is refused by name, before anything is done.

use http::HeaderMap;
use s3s::{S3Error, S3Result, s3_error};

use super::digests::CHECKSUM;
use super::guard::decoded;
use super::hashers::is_compared;
use super::payloads;
use super::preconditions::{Standing, is_malformed_in_read, standing};

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
            if !served.contains(&name.as_str()) && !is_everywhere(operation, &name) {
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
    let mut reads = ["Get", "Head", "List"].iter();
    if served(operation).is_some() && !reads.any(|it| operation.starts_with(it)) {
        payloads::check(operation, query, headers)?;
        for (name, value) in headers {
            check_write(operation, "header", name.as_str(), value.as_bytes())?;
        }
    }
    let unread = headers
        .iter()
        .find(|(name, value)| is_malformed_in_read(operation, name.as_str(), value.as_bytes()));
    if let Some((name, _)) = unread {
        return Err(malformed("header", name.as_str()));
    }
    let mut headers = headers.iter();
    let found = headers.find(|(name, value)| is_refused(name.as_str(), value.as_bytes()));
    match found {
        Some((name, _)) => Err(refused("header", name.as_str())),
        None => Ok(()),
    }
}

/// The same for the fields of a form, which are sent in its body and not as headers.
pub(super) fn check_fields(fields: &[(String, String)]) -> S3Result<()> {
    for (name, value) in fields {
        if name == "tagging" || is_refused(name, value.as_bytes()) {
            return Err(refused("field", name));
        }
        check_write("PostObject", "field", name, value.as_bytes())?;
    }
    Ok(())
}

/// Refuses digests that cannot be compared, and conditions that are not judged.
fn check_write(operation: &str, kind: &str, name: &str, value: &[u8]) -> S3Result<()> {
    if is_uncompared(operation, name) {
        return Err(refused(kind, name));
    }
    if name == "x-amz-trailer" {
        let trailers = String::from_utf8_lossy(value).to_ascii_lowercase();
        let mut trailers = trailers.split(',').map(str::trim);
        let is_served = |it: &str| it.starts_with(CHECKSUM) && !is_uncompared(operation, it);
        if let Some(unserved) = trailers.find(|it| !is_served(it)) {
            return Err(refused("trailer", unserved));
        }
    }
    match standing(operation, name, value) {
        Standing::Served => Ok(()),
        Standing::Unserved => Err(refused(kind, name)),
        Standing::Malformed => Err(malformed(kind, name)),
    }
}

/// Whether a name is that of a checksum that cannot be compared with the body of an operation.
fn is_uncompared(operation: &str, name: &str) -> bool {
    match name.strip_prefix(CHECKSUM) {
        None | Some("algorithm" | "mode" | "type") => false,
        Some(algorithm) => !payloads::is_compared(operation) || !is_compared(algorithm),
    }
}

fn refused(kind: &str, name: &str) -> S3Error {
    let shown: String = name.chars().take(SHOWN_MAX).collect();
    let shown = shown.escape_debug();
    s3_error!(NotImplemented, "the {kind} {shown} is not implemented here")
}

fn malformed(kind: &str, name: &str) -> S3Error {
    s3_error!(InvalidArgument, "the {kind} {name} is malformed")
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
fn is_everywhere(operation: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("x-amz-") {
        Some(_) if name.starts_with(CHECKSUM) => !is_uncompared(operation, &name),
        Some(_) => PRESIGNED.contains(&name.as_str()),
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
