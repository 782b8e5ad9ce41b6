//! The body of a request: its length, whether it is what the client has declared, and what `s3s` passes over in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Extensions, HeaderMap, Request, header};
use http_body::Body as _;
use http_body_util::{BodyStream, StreamBody};
use s3s::dto::StreamingBlob;
use s3s::stream::ByteStream;
use s3s::{Body, S3Error, S3Result, s3_error};

use super::digests::{Declared, Said};
use super::passed_over::PassedOver;
use crate::storage::StorageError;
use crate::storage::error::IncomingError;
use crate::storage::spool::{Check, Incoming};

/// The body of a request that `s3s` may read as a whole, before an operation acts on it.
#[derive(Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Watch>>);

#[derive(Default)]
struct Watch {
    /// None until an operation asks for a comparison.
    declared: Option<Declared>,
    length: Option<u64>,
    received: u64,
    is_broken: bool,
    passed_over: Option<PassedOver>,
}

impl Watched {
    /// Has the body of a request looked at while it is read.
    pub(super) fn body(request: Request<Body>) -> Request<Body> {
        let watched = Self::default();
        watched.watch().passed_over = PassedOver::of(&request);
        let (mut head, body) = request.into_parts();
        head.extensions.insert(watched.clone());
        if body.is_end_stream() {
            return Request::from_parts(head, body);
        }
        let frames = BodyStream::new(body).inspect(move |frame| {
            let mut watch = watched.watch();
            match frame {
                Ok(frame) => {
                    if let Some(bytes) = frame.data_ref() {
                        watch.see(bytes);
                    }
                }
                Err(_broken) => watch.is_broken = true,
            }
        });
        let body = Body::http_body_unsync(StreamBody::new(frames));
        Request::from_parts(head, body)
    }

    /// Has the digests compared that a request declares, from the first byte on.
    pub(super) fn begin(&self, headers: &HeaderMap, query: Option<&str>) -> S3Result<()> {
        let said = Said::of(headers, query)?.payload(headers)?;
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let mut watch = self.watch();
        (watch.declared, watch.length) = (Some(Declared::new(said).0), length);
        Ok(())
    }

    /// Judges for an operation, when the body has been read.
    pub(super) fn check(extensions: &Extensions) -> S3Result<()> {
        let watched = extensions.get::<Self>();
        let is_looked_at = watched.filter(|it| it.watch().declared.is_some());
        match is_looked_at.map(Self::fault) {
            Some(None) => Ok(()),
            Some(Some(fault)) => Err(fault),
            None => Err(s3_error!(
                InvalidRequest,
                "the body cannot be compared with its digests"
            )),
        }
    }

    /// Whether something that `s3s` passes over is in a body that has been read.
    pub(super) fn has(extensions: &Extensions, what: impl Fn(&PassedOver) -> bool) -> bool {
        let watched = extensions.get::<Self>();
        watched.is_some_and(|it| it.watch().passed_over.as_ref().is_some_and(what))
    }

    /// What is wrong with a body that was looked at.
    pub(super) fn fault(&self) -> Option<S3Error> {
        let mut watch = self.watch();
        let is_short = watch.length.is_some_and(|length| watch.received < length);
        let is_broken = watch.is_broken || is_short;
        let judged = match (&mut watch.declared, is_broken) {
            (Some(_), true) => Err(IncomingError::Incomplete),
            (Some(declared), false) => declared.finish(),
            (None, _) => Ok(()),
        };
        judged.err().map(|error| StorageError::from(error).into())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) {
        if let Some(passed_over) = &mut self.passed_over {
            passed_over.update(bytes);
        }
        if let Some(declared) = &mut self.declared {
            self.received += bytes.len() as u64;
            declared.update(bytes);
        }
    }
}

/// The bytes of a body, and how many there will be.
pub(super) fn incoming(
    body: Option<StreamingBlob>,
    content_length: Option<i64>,
) -> S3Result<(Incoming, u64)> {
    let Some(body) = body else {
        return Ok((futures_util::stream::empty().boxed(), 0));
    };
    let declared = content_length.and_then(|length| u64::try_from(length).ok());
    let exact = || body.remaining_length().exact().map(|length| length as u64);
    let length = declared.or_else(exact);
    let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
    let bytes = body.map(|chunk: Result<Bytes, _>| chunk.map_err(|error| of_stream(&*error)));
    Ok((bytes.boxed(), length))
}

/// What is wrong with a body that `s3s` has verified on the way: its errors have no common type.
fn of_stream(error: &(dyn std::error::Error + 'static)) -> IncomingError {
    let text = tidegate_model::error_chain::chain(error).to_string();
    match text {
        text if text.contains("Sha256Mismatch") || text.contains("sha256") => {
            IncomingError::WrongSha256
        }
        text if text.contains("SignatureMismatch") => IncomingError::WrongSignature,
        _ => IncomingError::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_document_that_is_not_what_was_declared_is_a_fault_of_the_client() {
        let sha256 = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
        for (sent, hash, expected) in [
            ("bytes", sha256, None),
            ("by", sha256, Some("IncompleteBody")),
            ("other", sha256, Some("XAmzContentSHA256Mismatch")),
            ("other", "UNSIGNED-PAYLOAD", None),
        ] {
            let request = Request::post("/b?delete").header("content-length", "5");
            let request = request.header("x-amz-content-sha256", hash);
            let request = request.body(Body::from(sent.to_owned())).unwrap();
            let request = Watched::body(request);
            let watched = request.extensions().get::<Watched>().cloned().unwrap();
            // Nobody wants to know yet.
            assert!(watched.fault().is_none());
            watched.begin(request.headers(), None).unwrap();
            BodyExt::collect(request.into_body()).await.unwrap();
            let fault = watched.fault();
            let code = fault.as_ref().map(|fault| fault.code().as_str());
            assert_eq!(code, expected, "{sent}");
        }
    }
}
