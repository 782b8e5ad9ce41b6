//! One request to a bucket: how long it is waited for, and what its failure means.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::timeout;

use super::fault::{Fault, FaultKind, of_text};

/// Time for a bucket's first byte, as the answer to a request of any kind.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(5);
/// The slowest that a bucket may be with a body.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// Bytes from a bucket.
pub(super) type Download = BoxStream<'static, Result<Bytes, Fault>>;

/// Waits for the next bytes of a download.
pub(super) async fn within_stream(bytes: &mut Download) -> Result<Option<Bytes>, Fault> {
    match timeout(FIRST_BYTE, bytes.next()).await {
        Ok(next) => next.transpose(),
        Err(_elapsed) => Err(silent()),
    }
}

/// Time for a request with a body.
pub(super) fn patience(bytes: u64) -> Duration {
    FIRST_BYTE + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

/// Waits for a request.
pub(super) async fn within<T>(
    patience: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Fault> {
    match timeout(patience, request).await {
        Ok(answer) => answer.map_err(|error| fault(&error)),
        Err(_elapsed) => Err(silent()),
    }
}

/// The fault of a bucket that does not answer.
pub(super) fn silent() -> Fault {
    Fault {
        kind: FaultKind::Slow,
        detail: "no answer in time".to_owned(),
    }
}

/// What an error means.
pub(super) fn fault(error: &object_store::Error) -> Fault {
    let detail = tidegate_model::error_chain::chain(error).to_string();
    let by_status = of_text(&detail);
    let kind = match error {
        object_store::Error::NotFound { .. } => FaultKind::Absent,
        // An imported object is not the one that was imported.
        object_store::Error::Precondition { .. } => FaultKind::Damaged,
        // A local file that is too short: `object_store` has no other form of it.
        object_store::Error::Generic { .. } if detail.contains("Requested range was invalid") => {
            FaultKind::Damaged
        }
        _ => by_status.unwrap_or(FaultKind::Connection),
    };
    Fault { kind, detail }
}
