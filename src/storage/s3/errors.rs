//! What a client is told of a failure, in S3's words.

use http::{HeaderValue, Response, StatusCode, header};
use s3s::{Body, S3Error, S3ErrorCode, s3_error};

use crate::storage::StorageError;
use crate::storage::error::BodyError;

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
            StorageError::QuotaExceeded(_) => named("QuotaExceeded"),
            StorageError::Body(body) => of_body(*body),
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
            StorageError::QuotaExceeded(_) => Some(StatusCode::FORBIDDEN),
            StorageError::Body(BodyError::WrongSha256) => Some(StatusCode::BAD_REQUEST),
            _ => None,
        };
        let mut answer = Self::with_message(code, message);
        if let Some(status) = status {
            answer.set_status_code(status);
        }
        answer
    }
}

fn of_body(error: BodyError) -> S3ErrorCode {
    match error {
        BodyError::Incomplete => S3ErrorCode::IncompleteBody,
        BodyError::BadDigest => S3ErrorCode::BadDigest,
        BodyError::WrongSha256 => named("XAmzContentSHA256Mismatch"),
        BodyError::WrongSignature => S3ErrorCode::SignatureDoesNotMatch,
        BodyError::TimedOut => S3ErrorCode::RequestTimeout,
        BodyError::TooLarge => S3ErrorCode::EntityTooLarge,
    }
}

/// A code that has no name in `s3s`.
fn named(code: &str) -> S3ErrorCode {
    S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InvalidRequest)
}

/// There is no such part of an object.
pub(super) fn no_such_part() -> S3Error {
    let mut error = S3Error::with_message(
        named("InvalidPartNumber"),
        "The requested partnumber is not satisfiable",
    );
    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
    error
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
