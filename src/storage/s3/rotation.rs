//! Keys that are being rotated: which of their two secrets a request is signed with.
//!
//! `s3s` knows one secret of a key. So where a key may have two, the signature is verified beforehand with
//! the second one, by a service that has no operations.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;
use s3s::service::S3Service;
use s3s::{Body, S3, S3Result, StdError, s3_error};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::guard::{FORM_FIELDS_BYTES_MAX, is_form};
use crate::storage::KeyPair;
use crate::storage::inventory::Inventory;

/// How long the fields of a form may take to arrive.
const FORM_PATIENCE: Duration = Duration::from_secs(60);

tokio::task_local! {
    static AT_HAND: SecretAtHand;
}

/// The secret that signatures are verified with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretAtHand {
    /// That of every key.
    First,
    /// The second one of a key that has two.
    Second,
}

impl SecretAtHand {
    /// That of a key for the request that this task serves.
    pub(super) fn of(key: &KeyPair) -> &SecretString {
        let at_hand = AT_HAND.try_with(|it| *it).unwrap_or(Self::First);
        match (at_hand, &key.next_secret) {
            (Self::Second, Some(second)) => second,
            (Self::First | Self::Second, _) => &key.secret,
        }
    }

    /// Serves a request with it.
    pub(super) async fn serve<F: Future>(self, service: F) -> F::Output {
        AT_HAND.scope(self, service).await
    }
}

/// Nothing that could be done.
pub(super) struct NoOperations;

impl S3 for NoOperations {}

/// Finds the secret that a request is signed with; returns the request. Of a form, only
/// its fields are read for that.
pub(super) async fn secret_of(
    request: Request<Body>,
    inventory: &Inventory,
    probe: &S3Service,
) -> S3Result<(SecretAtHand, Request<Body>)> {
    let is_form = is_form(&request);
    if !inventory
        .rotating
        .iter()
        .any(|id| is_form || names(&request, id))
    {
        return Ok((SecretAtHand::First, request));
    }
    let (head, body) = request.into_parts();
    // A form has its signature in its body, any other request in its head.
    let form = Arc::new(Mutex::new(Form {
        rest: body,
        read: Vec::new(),
        bytes: 0,
    }));
    let tried = match is_form {
        true => Form::shown(&form),
        false => Body::empty(),
    };
    let tried = Request::from_parts(head.clone(), tried);
    let tried = SecretAtHand::Second.serve(probe.call(tried));
    // A wrong signature is nothing to log here.
    let tried = tried.with_subscriber(NoSubscriber::default());
    let late = |_elapsed| s3_error!(RequestTimeout);
    let answer = timeout(FORM_PATIENCE, tried).await.map_err(late)?;
    let is_wrong = answer.is_ok_and(|answer| {
        let body = answer.body().bytes().unwrap_or_default();
        String::from_utf8_lossy(&body).contains("<Code>SignatureDoesNotMatch</Code>")
    });
    let at_hand = match is_wrong {
        true => SecretAtHand::First,
        false => SecretAtHand::Second,
    };
    let body = form.lock().await.take();
    Ok((at_hand, Request::from_parts(head, body)))
}

/// A body of which a beginning may have been read.
struct Form {
    read: Vec<Bytes>,
    bytes: u64,
    rest: Body,
}

impl Form {
    /// The body as a service reads it that verifies the signature, which comes before the file. More than the
    /// fields can have is not shown: anyone can send it.
    fn shown(form: &Arc<Mutex<Self>>) -> Body {
        let frames = stream::unfold(Arc::clone(form), |form| async move {
            let next = form.lock().await.next().await?;
            Some((next, form))
        });
        Body::http_body_unsync(StreamBody::new(frames))
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, StdError>> {
        if self.bytes > FORM_FIELDS_BYTES_MAX {
            return Some(Err("the fields of a form are too large".into()));
        }
        let frame = match self.rest.frame().await? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        let bytes = frame.into_data().unwrap_or_default();
        self.bytes += bytes.len() as u64;
        self.read.push(bytes.clone());
        Some(Ok(Frame::data(bytes)))
    }

    /// All of it.
    fn take(&mut self) -> Body {
        let rest = std::mem::replace(&mut self.rest, Body::empty());
        if self.read.is_empty() {
            return rest;
        }
        let read = std::mem::take(&mut self.read).into_iter();
        let read = stream::iter(read.map(|bytes| Ok(Frame::data(bytes))));
        Body::http_body_unsync(StreamBody::new(read.chain(BodyStream::new(rest))))
    }
}

/// Whether the head of a request may name a key.
fn names<B>(request: &Request<B>, key_id: &str) -> bool {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|it| it.to_str().ok());
    [authorization, request.uri().query()]
        .into_iter()
        .flatten()
        .any(|text| text.contains(key_id))
}
