//! A request body: declared as JSON, bounded in size and time, read whole.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::ServerSettings;
use super::request_error::RequestError;

/// Reads the body of a request that must have one.
///
/// # Errors
/// `unsupported-media-type`, `too-large`, `invalid-body`, or `deadline` when it is slow.
pub async fn read_json(
    headers: &HeaderMap,
    body: Body,
    limits: &ServerSettings,
) -> Result<Bytes, RequestError> {
    if !is_json(headers) {
        return Err(RequestError::UnsupportedMediaType);
    }
    let too_large = || RequestError::TooLarge(limits.body_bytes_max);
    if declared_length(headers).is_some_and(|length| length > limits.body_bytes_max) {
        return Err(too_large());
    }
    let limited = Limited::new(body, limits.body_bytes_max);
    match timeout(limits.body_timeout, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_broken)) => Err(RequestError::BrokenBody),
        Err(_elapsed) => Err(RequestError::SlowBody),
    }
}

/// Whether the media type is `application/json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
