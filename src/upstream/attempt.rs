//! One attempt to send one request to one node.

use http::header::{ACCEPT, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Body as _;
use tokio::time::Instant;

use super::client::ClientError;
use super::error::AttemptError;
use super::framing::reframe;
use super::link::{AnswerBody, RequestBody};
use super::outgoing::Outgoing;
use super::try_span::TrySpan;
use super::upload::{Upload, UploadState};
use super::{Upstream, UpstreamNode, names_upgrade};
use crate::http::{TRACEPARENT, trace_field};
use tidegate_model::error_chain;
use tidegate_telemetry::trace::SpanContext;

/// The header that tells an application which database to read from.
static X_DATABASE_ROLE: HeaderName = HeaderName::from_static("x-database-role");

/// Largest head of an answer: twice that of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Sends a request to a node and waits for the head of its answer, below a span of its own.
pub(super) async fn attempt(
    upstream: &Upstream,
    node: usize,
    outgoing: &Outgoing,
    upload: Option<&Upload>,
    mut span: TrySpan,
) -> Result<Response<AnswerBody>, AttemptError> {
    let context = span.context();
    let answer = send(upstream, node, outgoing, upload, context).await;
    span.describe(&answer);
    answer
}

async fn send(
    upstream: &Upstream,
    node: usize,
    outgoing: &Outgoing,
    upload: Option<&Upload>,
    context: Option<SpanContext>,
) -> Result<Response<AnswerBody>, AttemptError> {
    let client = upstream.client(node);
    let node = &upstream.nodes()[node];
    let request = || {
        let mut request = request(node, outgoing, upload);
        if let Some(context) = context {
            let headers = request.headers_mut();
            headers.insert(&TRACEPARENT, trace_field(context));
        }
        request
    };
    let may_be_repeated =
        || outgoing.method.is_safe() && upload.is_none_or(|it| it.state() == UploadState::Whole);
    let answer = client.send(request, may_be_repeated).await;
    let answer = answer.map_err(|error| classify(node, error))?;
    let answer = check(node, outgoing, answer)?;
    begin_body(node, answer)
}

/// The request as the node receives it.
fn request(
    node: &UpstreamNode,
    outgoing: &Outgoing,
    upload: Option<&Upload>,
) -> Request<RequestBody> {
    let mut request = Request::new(Either::Left(Empty::new()));
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = node.target(&outgoing.path, outgoing.query.as_deref());
    *request.headers_mut() = outgoing.headers.clone();
    let now = Instant::now();
    let role =
        HeaderValue::from_static(match outgoing.reads_replica_in(node.region.as_ref(), now) {
            true => "replica",
            false => "primary",
        });
    request.headers_mut().insert(&X_DATABASE_ROLE, role);
    let any = HeaderValue::from_static("*/*");
    request.headers_mut().entry(ACCEPT).or_insert(any);
    match upload {
        Some(upload) => attach(upload, &mut request),
        None => say_that_there_is_no_body(&mut request),
    }
    request
}

fn attach(upload: &Upload, request: &mut Request<RequestBody>) {
    let body = upload.body();
    if body.size_hint().exact().is_none() {
        // hyper treats a GET without a length as one without a body.
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
    *request.body_mut() = Either::Right(body);
}

/// Servers may require a length if a method usually has a body (RFC 9110 section 8.6).
fn say_that_there_is_no_body(request: &mut Request<RequestBody>) {
    if matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    ) {
        let none = HeaderValue::from_static("0");
        request.headers_mut().insert(CONTENT_LENGTH, none);
    }
}

fn classify(node: &UpstreamNode, source: ClientError) -> AttemptError {
    let unsent = source.is_unsent();
    let node = node.name.clone();
    if unsent {
        AttemptError::NotSent { node, source }
    } else if is_misframed(&source) {
        let what = "lengths that differ or are invalid";
        AttemptError::Misframed { node, what }
    } else if source.is_parse() {
        AttemptError::NotHttp { node, source }
    } else {
        AttemptError::Lost { node, source }
    }
}

/// Whether hyper rejected the fields that delimit an answer. Its error shows that only in its text.
fn is_misframed(error: &ClientError) -> bool {
    error.is_parse() && {
        let words = error_chain::chain(error);
        words.contains("content-length") || words.contains("transfer-encoding")
    }
}

/// Refuses an answer that must not be passed on.
fn check(
    node: &UpstreamNode,
    outgoing: &Outgoing,
    mut answer: Response<AnswerBody>,
) -> Result<Response<AnswerBody>, AttemptError> {
    if let Err(what) = reframe(answer.status(), answer.headers_mut()) {
        let node = node.name.clone();
        return Err(AttemptError::Misframed { node, what });
    }
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let agreed = outgoing.wants_websocket && names_upgrade(answer.headers(), "websocket");
    let what = if switches && !agreed {
        "a change of protocol that was not requested"
    } else if head_bytes(answer.headers()) > HEAD_BYTES_MAX {
        "a head of more than 64 KiB"
    } else {
        return Ok(answer);
    };
    let node = node.name.clone();
    Err(AttemptError::Unusable { node, what })
}

/// Reads the first data of an answer's body if it came with the head: a fault in it can still be
/// answered. Does not wait.
fn begin_body(
    node: &UpstreamNode,
    mut answer: Response<AnswerBody>,
) -> Result<Response<AnswerBody>, AttemptError> {
    match answer.body_mut().begin() {
        Ok(()) => Ok(answer),
        Err(error) => {
            let node = node.name.clone();
            tracing::debug!(node, %error, "the body of an answer cannot be read");
            let what = "its body is not valid or breaks off at once";
            Err(AttemptError::Unusable { node, what })
        }
    }
}

fn head_bytes(headers: &HeaderMap) -> usize {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(bytes).sum()
}
