//! Keys that are being rotated: which of their two secrets a request is signed with.
//!
//! `s3s` knows one secret of a key. So where a key may have two, the signature is verified beforehand with
//! the second one, by a service that has no operations.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Limited};
use s3s::service::S3Service;
use s3s::{Body, S3, S3Result, s3_error};
use secrecy::SecretString;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::guard::{FORM_LENGTH_MAX, is_form};
use crate::storage::KeyPair;
use crate::storage::inventory::Inventory;

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

/// Finds the secret that a request is signed with; returns the request, of which a form was read.
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
    let (form, body) = match is_form {
        true => {
            let limit = usize::try_from(FORM_LENGTH_MAX).unwrap_or(usize::MAX);
            let form = Limited::new(body, limit).collect().await;
            let form = form.map_err(|_unreadable| s3_error!(IncompleteBody))?;
            let form = form.to_bytes();
            (form.clone(), Body::from(form))
        }
        false => (Bytes::new(), body),
    };
    let tried = Request::from_parts(head.clone(), Body::from(form));
    let tried = SecretAtHand::Second.serve(probe.call(tried));
    // A wrong signature is nothing to log here.
    let answer = tried.with_subscriber(NoSubscriber::default()).await;
    let is_wrong = answer.is_ok_and(|answer| {
        let body = answer.body().bytes().unwrap_or_default();
        String::from_utf8_lossy(&body).contains("<Code>SignatureDoesNotMatch</Code>")
    });
    let at_hand = match is_wrong {
        true => SecretAtHand::First,
        false => SecretAtHand::Second,
    };
    Ok((at_hand, Request::from_parts(head, body)))
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
