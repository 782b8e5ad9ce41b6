//! What a request that writes declares of its body, judged by its head. Whether a body is what was declared is seen
//! when it has ended.

use http::{HeaderMap, Request, Version, header};
use s3s::{S3Result, s3_error};

use super::chunks::is_in_chunks;
use super::digests::{CHECKSUM, PAYLOAD, is_md5};
use super::guard::decoded;
use super::hashers;
use crate::storage::StorageError;
use crate::storage::error::IncomingError;

/// Operations that read a document.
const READ_WHOLE: [&str; 3] = ["CompleteMultipartUpload", "CreateBucket", "DeleteObjects"];
/// Operations whose bodies are compared with the checksums of their request. That of `CompleteMultipartUpload`
/// would be the checksum of the whole object.
const COMPARED: [&str; 5] = [
    "CreateBucket",
    "DeleteObjects",
    "PostObject",
    "PutObject",
    "UploadPart",
];

/// Operations that are about their body.
const NEED_LENGTH: [&str; 4] = [
    "CompleteMultipartUpload",
    "DeleteObjects",
    "PutObject",
    "UploadPart",
];

const MD5_OF_NOTHING: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Marks a request whose head says nothing about a body. On HTTP/1 that is one without a body, whether its client has
/// meant that or has lost the length; on HTTP/2 the end of the stream says it.
#[derive(Clone, Copy)]
pub(super) struct WithoutLength;

impl WithoutLength {
    pub(super) fn mark<B>(request: &mut Request<B>) {
        let headers = request.headers();
        let is_framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        if !is_framed && request.version() < Version::HTTP_2 {
            request.extensions_mut().insert(Self);
        }
    }

    /// Refuses a request that is marked for an operation that would take it for one with an empty body.
    pub(super) fn check(marked: Option<Self>, operation: &str) -> S3Result<()> {
        match marked.is_some() && NEED_LENGTH.contains(&operation) {
            true => Err(s3_error!(MissingContentLength)),
            false => Ok(()),
        }
    }
}

/// Whether an operation compares its body with checksums.
pub(super) fn is_compared(operation: &str) -> bool {
    COMPARED.contains(&operation)
}

/// Refuses a body that an operation would not read as it is declared.
pub(super) fn check(operation: &str, query: &str, headers: &HeaderMap) -> S3Result<()> {
    if READ_WHOLE.contains(&operation) && is_in_chunks(headers) {
        // Its digests would be those of another body than the one that arrives.
        return Err(s3_error!(
            NotImplemented,
            "the XML of {operation} cannot be sent in signed chunks or with a trailer"
        ));
    }
    match is_compared(operation) {
        true => {
            check_length(headers)?;
            check_announced(query, headers)
        }
        false if READ_WHOLE.contains(&operation) => Ok(()),
        false => check_bodiless(operation, query, headers),
    }
}

/// Refuses a body that is declared to be larger or smaller than what is sent: its framing would be stored.
fn check_length(headers: &HeaderMap) -> S3Result<()> {
    let decoded = headers.get("x-amz-decoded-content-length");
    let is_other = decoded.is_some() && decoded != headers.get(header::CONTENT_LENGTH);
    match is_other && !is_in_chunks(headers) {
        true => Err(s3_error!(
            IncompleteBody,
            "x-amz-decoded-content-length is not the length of a body that is not sent in chunks"
        )),
        false => Ok(()),
    }
}

/// Refuses a request that says which checksum it has, and has none. If there is one, S3 passes over what is said, which
/// may be an SDK's default.
fn check_announced(query: &str, headers: &HeaderMap) -> S3Result<()> {
    let is_announced = headers.contains_key("x-amz-sdk-checksum-algorithm");
    let is_checksum = |name: &str| {
        let algorithm = name.strip_prefix(CHECKSUM);
        algorithm.is_some_and(hashers::is_compared)
    };
    let mut names = headers.keys().map(http::HeaderName::as_str);
    let mut parameters = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .map(|name| decoded(name).to_ascii_lowercase());
    let has_one = names.any(|name| name == "x-amz-trailer" || is_checksum(name))
        || parameters.any(|name| is_checksum(&name));
    match is_announced && !has_one {
        true => Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm is there, but no x-amz-checksum-… and no x-amz-trailer"
        )),
        false => Ok(()),
    }
}

/// Refuses a body, and digests of one, that an operation does not read: nothing would compare them.
fn check_bodiless(operation: &str, query: &str, headers: &HeaderMap) -> S3Result<()> {
    let length = headers.get(header::CONTENT_LENGTH);
    if length.is_some_and(|length| length != "0") {
        return Err(s3_error!(InvalidRequest, "{operation} has no body"));
    }
    for md5 in headers.get_all("content-md5") {
        if !is_md5(&String::from_utf8_lossy(md5.as_bytes())) {
            return Err(s3_error!(InvalidDigest));
        }
        if md5 != MD5_OF_NOTHING {
            return Err(StorageError::from(IncomingError::BadDigest).into());
        }
    }
    let payloads = headers.get_all(PAYLOAD).iter();
    let mut payloads = payloads
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .chain(payloads_of(query));
    match payloads.all(|payload| is_of_nothing(&payload)) {
        true => Ok(()),
        false => Err(StorageError::from(IncomingError::WrongSha256).into()),
    }
}

fn payloads_of(query: &str) -> impl Iterator<Item = String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let payloads = pairs.filter(|(name, _)| decoded(name).eq_ignore_ascii_case(PAYLOAD));
    payloads.map(|(_, value)| decoded(value))
}

/// Whether what is said of the SHA-256 of a payload holds for an empty one.
fn is_of_nothing(payload: &str) -> bool {
    payload.eq_ignore_ascii_case(SHA256_OF_NOTHING)
        || payload == "UNSIGNED-PAYLOAD"
        || payload.starts_with("STREAMING-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(operation: &str, query: &str, headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().copied().map(|(name, value)| {
            let value = http::HeaderValue::from_str(value).unwrap();
            (http::HeaderName::from_static(name), value)
        });
        let checked = check(operation, query, &headers.collect());
        checked.err().map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_body_that_is_not_sent_in_chunks_has_the_length_that_was_declared() {
        for (decoded, hash, expected) in [
            ("3", "UNSIGNED-PAYLOAD", Some("IncompleteBody")),
            ("5", "UNSIGNED-PAYLOAD", None),
            ("3", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", None),
        ] {
            let headers = [
                ("content-length", "5"),
                ("x-amz-decoded-content-length", decoded),
                (PAYLOAD, hash),
            ];
            let refused = refused("PutObject", "", &headers);
            assert_eq!(refused.as_deref(), expected, "{decoded} {hash}");
        }
    }

    #[test]
    fn only_a_length_or_the_end_of_a_stream_says_that_a_body_is_empty() {
        let refused = |operation: &str, version: Version, framing: Option<(&str, &str)>| {
            let mut request = Request::put("/b/k").version(version);
            if let Some((name, value)) = framing {
                request = request.header(name, value);
            }
            let mut request = request.body(()).unwrap();
            WithoutLength::mark(&mut request);
            let marked = request.extensions().get::<WithoutLength>().copied();
            let refused = WithoutLength::check(marked, operation).err();
            refused.map(|error| error.code().as_str().to_owned())
        };
        let missing = Some("MissingContentLength");
        let length = Some(("content-length", "0"));
        let chunked = Some(("transfer-encoding", "chunked"));
        for (operation, version, framing, expected) in [
            ("PutObject", Version::HTTP_11, None, missing),
            ("PutObject", Version::HTTP_10, None, missing),
            ("PutObject", Version::HTTP_2, None, None),
            ("PutObject", Version::HTTP_11, length, None),
            ("PutObject", Version::HTTP_11, chunked, None),
            ("UploadPart", Version::HTTP_11, None, missing),
            ("DeleteObjects", Version::HTTP_11, None, missing),
            ("CopyObject", Version::HTTP_11, None, None),
            ("CreateBucket", Version::HTTP_11, None, None),
        ] {
            let refused = refused(operation, version, framing);
            assert_eq!(
                refused.as_deref(),
                expected,
                "{operation} {version:?} {framing:?}"
            );
        }
    }

    #[test]
    fn a_body_that_an_operation_does_not_read_is_refused_with_its_digests() {
        let other = "0".repeat(64);
        for operation in ["CopyObject", "CreateMultipartUpload", "DeleteObject"] {
            for (name, value, expected) in [
                ("content-length", "3", Some("InvalidRequest")),
                ("content-length", "0", None),
                ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", Some("BadDigest")),
                ("content-md5", "x", Some("InvalidDigest")),
                ("content-md5", MD5_OF_NOTHING, None),
                (PAYLOAD, &*other, Some("XAmzContentSHA256Mismatch")),
                (PAYLOAD, SHA256_OF_NOTHING, None),
                (PAYLOAD, "UNSIGNED-PAYLOAD", None),
            ] {
                let refused = refused(operation, "", &[(name, value)]);
                assert_eq!(refused.as_deref(), expected, "{operation} {name}: {value}");
            }
            let query = format!("x-id=a&X-Amz-Content-Sha256={other}");
            let presigned = refused(operation, &query, &[]);
            assert_eq!(presigned.as_deref(), Some("XAmzContentSHA256Mismatch"));
        }
        let document = [("content-length", "3"), (PAYLOAD, &*other)];
        assert_eq!(refused("CompleteMultipartUpload", "", &document), None);
        assert_eq!(refused("PutObject", "", &document), None);
    }

    #[test]
    fn a_checksum_that_is_announced_is_there() {
        let announced = ("x-amz-sdk-checksum-algorithm", "SHA256");
        let invalid = Some("InvalidRequest".to_owned());
        assert_eq!(refused("PutObject", "", &[announced]), invalid);
        let algorithm = ("x-amz-checksum-algorithm", "SHA256");
        assert_eq!(refused("PutObject", "", &[announced, algorithm]), invalid);
        for there in [
            ("x-amz-checksum-sha256", "a"),
            ("x-amz-checksum-crc32", "a"),
            ("x-amz-trailer", "x-amz-checksum-sha256"),
        ] {
            assert_eq!(refused("UploadPart", "", &[announced, there]), None);
        }
        let query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32";
        assert_eq!(refused("PutObject", query, &[announced]), None);
        assert_eq!(refused("PutObject", query, &[]), None);
    }
}
