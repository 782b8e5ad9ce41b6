//! The span of a try at a node, by OpenTelemetry's conventions for HTTP clients.

use http::{Method, Response};

use super::UpstreamNode;
use super::error::AttemptError;
use super::node::encode_path;
use super::outgoing::Outgoing;
use tidegate_telemetry::trace::{ActiveSpan, SpanKind};

/// Begins the span of a try; `resent` is how often the request was sent before.
pub(super) fn try_span(node: &UpstreamNode, outgoing: &Outgoing, resent: u32) -> ActiveSpan {
    let (name, method) = names(&outgoing.method);
    let mut span = ActiveSpan::begin(name, SpanKind::Client);
    if !span.is_recorded() {
        return span;
    }
    // Its query may have secrets in it.
    let url = node.url(&encode_path(&outgoing.path), None);
    let port = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    span.set("http.request.method", method);
    span.set("server.address", url.host().unwrap_or_default().to_owned());
    span.set("server.port", url.port_u16().unwrap_or(port));
    span.set("url.full", url.to_string());
    if resent > 0 {
        span.set("http.request.resend_count", resent);
    }
    span
}

/// Says what came of a try.
pub(super) fn describe(
    span: &mut ActiveSpan,
    answer: &Result<Response<hyper::body::Incoming>, AttemptError>,
) {
    match answer {
        Ok(answer) => {
            let status = answer.status();
            span.set("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                span.fail(status.as_str().to_owned());
            }
        }
        Err(error) => span.fail(error.outcome()),
    }
}

/// The name of a span and the method in it: the conventions have words for methods that are not known.
fn names(method: &Method) -> (&'static str, &'static str) {
    let known = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ];
    match known.into_iter().find(|it| it == method) {
        Some(known) => (known, known),
        None => ("HTTP", "_OTHER"),
    }
}
