//! What a client is told of a failure, in S3's words.

use http::{HeaderValue, Response, StatusCode, header};
use s3s::{Body, S3Error, S3ErrorCode, s3_error};

use crate::storage::StorageError;
use crate::storage::error::IncomingError;

/// What errors say that have only a code: of ours, and of `s3s`.
const MESSAGES: [(&str, &str); 25] = [
    ("AccessDenied", "Access Denied"),
    (
        "BucketAlreadyExists",
        "The name is that of another bucket or repository",
    ),
    ("BucketNotEmpty", "The bucket is not empty"),
    (
        "IncompleteBody",
        "The body does not have the number of bytes that was declared",
    ),
    (
        "InternalError",
        "An internal error has occurred. Please try again.",
    ),
    (
        "InvalidAccessKeyId",
        "The access key id is not one of a key that is known",
    ),
    ("InvalidArgument", "An argument is invalid"),
    ("InvalidBucketName", "The bucket's name is not valid"),
    ("InvalidDigest", "The Content-MD5 is not one in base64"),
    (
        "InvalidPolicyDocument",
        "The policy of the form cannot be read",
    ),
    ("InvalidRange", "The range is not one of the object"),
    ("InvalidURI", "The URI cannot be parsed"),
    ("KeyTooLongError", "Your key is too long"),
    ("MalformedPOSTRequest", "The form cannot be read"),
    (
        "MalformedXML",
        "The XML is not well-formed, or not that of this operation",
    ),
    ("MaxMessageLengthExceeded", "The document is too large"),
    (
        "MetadataTooLarge",
        "The metadata of an object can have 2 KiB together, names and values",
    ),
    (
        "MethodNotAllowed",
        "The method is not allowed for this resource",
    ),
    (
        "MissingContentLength",
        "The Content-Length header is missing",
    ),
    ("MissingRequestBodyError", "The body is empty"),
    ("NoSuchBucket", "The bucket does not exist"),
    ("NoSuchKey", "The key does not exist"),
    (
        "PreconditionFailed",
        "A condition of the request does not hold",
    ),
    ("RequestTimeout", "The body did not arrive in time"),
    (
        "SignatureDoesNotMatch",
        "The signature is not that of the request. Check the secret access key and the signing method.",
    ),
];

/// Seconds until a client should try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl From<StorageError> for S3Error {
    fn from(error: StorageError) -> Self {
        let code = match &error {
            StorageError::Invalid(_) => S3ErrorCode::InvalidRequest,
            StorageError::NotFound(..) => S3ErrorCode::NoSuchBucket,
            StorageError::NameTaken(_) => S3ErrorCode::BucketAlreadyExists,
            StorageError::InUse(_) => S3ErrorCode::BucketNotEmpty,
            StorageError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StorageError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StorageError::InvalidPart => S3ErrorCode::InvalidPart,
            StorageError::PartTooSmall => S3ErrorCode::EntityTooSmall,
            StorageError::ConditionFailed => S3ErrorCode::PreconditionFailed,
            StorageError::QuotaExceeded(..) => named("QuotaExceeded"),
            StorageError::Body(body) => of_body(*body),
            StorageError::Busy => S3ErrorCode::SlowDown,
            StorageError::NoMember(_)
            | StorageError::NoCopy(_)
            | StorageError::NotKept(_)
            | StorageError::LeaseLost
            | StorageError::NoNode(_)
            | StorageError::Database(_)
            | StorageError::Sealed(_)
            | StorageError::Spool(_) => S3ErrorCode::ServiceUnavailable,
        };
        let is_ours = code == S3ErrorCode::ServiceUnavailable;
        if is_ours {
            let reason = tidegate_model::error_chain::chain(&error);
            tracing::error!(reason, "a storage request failed");
        }
        // What an operator has to know is in the log.
        let message = match is_ours {
            true => "the request cannot be served at the moment".to_owned(),
            false => error.to_string(),
        };
        // Codes that have no name in `s3s` have no status either.
        let status = match &error {
            StorageError::QuotaExceeded(..) => Some(StatusCode::FORBIDDEN),
            StorageError::Body(IncomingError::WrongSha256) => Some(StatusCode::BAD_REQUEST),
            _ => None,
        };
        let mut answer = Self::with_message(code, message);
        if let Some(status) = status {
            answer.set_status_code(status);
        }
        answer
    }
}

fn of_body(error: IncomingError) -> S3ErrorCode {
    match error {
        IncomingError::Incomplete => S3ErrorCode::IncompleteBody,
        IncomingError::BadDigest => S3ErrorCode::BadDigest,
        IncomingError::WrongSha256 => named("XAmzContentSHA256Mismatch"),
        IncomingError::WrongSignature => S3ErrorCode::SignatureDoesNotMatch,
        IncomingError::TimedOut => S3ErrorCode::RequestTimeout,
        // Nothing that the client has sent is wrong.
        IncomingError::SourceFailed => S3ErrorCode::ServiceUnavailable,
        IncomingError::TooLarge => S3ErrorCode::EntityTooLarge,
    }
}

/// A code that has no name in `s3s`.
fn named(code: &str) -> S3ErrorCode {
    S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InvalidRequest)
}

/// There is no such part of an object.
pub(super) fn no_such_part() -> S3Error {
    s3_error!(InvalidPart, "The object has no such part")
}

/// The response to a request that was refused before it was read.
pub(super) fn response(error: S3Error) -> Response<Body> {
    let made = error.to_http_response();
    made.unwrap_or_else(|_error| unavailable())
}

/// The response where none could be made.
pub(super) fn unavailable() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Gives a response the id of its request, in an error also where clients look for it, and an error a message.
pub(super) fn identify(response: &mut Response<Body>, id: &str) {
    const END: &str = "</Error>";
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-amz-request-id", id);
    }
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let body = response.body().bytes().filter(|_| is_error);
    let text = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
    if let Some(start) = text.as_ref().and_then(|text| text.strip_suffix(END)) {
        let start = explained(start).unwrap_or_else(|| start.to_owned());
        let text = format!("{start}<RequestId>{id}</RequestId>{END}");
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(text);
    }
}

/// An error with the message of its code, if it has none of its own.
fn explained(xml: &str) -> Option<String> {
    let (head, rest) = xml.split_once("</Code>")?;
    let (_, code) = head.rsplit_once("<Code>")?;
    let found = MESSAGES.iter().find(|(name, _)| *name == code);
    let (_, message) = found.filter(|_| !xml.contains("<Message>"))?;
    Some(format!("{head}</Code><Message>{message}</Message>{rest}"))
}

/// Adds `Retry-After` to a 503.
pub(super) fn ask_to_retry(response: &mut Response<Body>) {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.entry(header::RETRY_AFTER).or_insert(RETRY_AFTER);
    }
}

/// There is nothing under a key.
pub(super) fn no_such_key() -> S3Error {
    s3_error!(NoSuchKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_whose_source_fails_is_no_fault_of_the_client() {
        let status = |error: IncomingError| {
            let answer = S3Error::from(StorageError::from(error));
            answer.status_code()
        };
        let failed = status(IncomingError::SourceFailed);
        assert_eq!(failed, Some(StatusCode::SERVICE_UNAVAILABLE));
        let incomplete = status(IncomingError::Incomplete);
        assert_eq!(incomplete, Some(StatusCode::BAD_REQUEST));
    }

    /// The codes that files of this folder raise without a message.
    fn raised_alone() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/s3");
        let mut codes = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() || path.ends_with("errors.rs") {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for (begin, end) in [("s3_error!(", ")"), ("S3ErrorCode::", ".into()")] {
                for rest in text.split(begin).skip(1) {
                    let is_other = |character: char| !character.is_ascii_alphanumeric();
                    let code = rest.split(is_other).next().unwrap();
                    if !code.is_empty() && rest[code.len()..].starts_with(end) {
                        codes.push(code.to_owned());
                    }
                }
            }
        }
        assert!(codes.len() > 10, "{codes:?}");
        codes
    }

    #[test]
    fn an_error_of_a_code_alone_says_what_it_means() {
        let text = |error: S3Error| {
            let mut response = response(error);
            identify(&mut response, "1f");
            let bytes = response.body().bytes().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        for (code, message) in MESSAGES {
            let text = text(S3Error::new(named(code)));
            let expected = format!("<Code>{code}</Code><Message>{message}</Message>");
            assert!(text.contains(&expected), "{text}");
            assert!(text.contains("<RequestId>1f</RequestId></Error>"), "{text}");
        }
        for code in raised_alone() {
            let text = text(S3Error::new(named(&code)));
            assert!(text.contains("<Message>"), "{text}");
        }
        let own = text(s3_error!(NoSuchKey, "its own"));
        assert_eq!(own.matches("<Message>").count(), 1, "{own}");
        assert!(own.contains("<Message>its own</Message>"), "{own}");
    }
}
