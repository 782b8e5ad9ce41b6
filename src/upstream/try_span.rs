//! The span of a try at a node, by OpenTelemetry's conventions for HTTP clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Response};

use super::UpstreamNode;
use super::error::AttemptError;
use super::link::AnswerBody;
use super::node::encode_path;
use super::outgoing::Outgoing;
use tidegate_telemetry::trace::{ActiveSpan, SpanContext, SpanKind};

/// The span of a try. One that is dropped before its answer has run out of time, or is no longer needed.
pub(super) struct TrySpan {
    span: ActiveSpan,
    is_described: bool,
    is_out_of_time: Arc<AtomicBool>,
}

impl TrySpan {
    /// Begins the span; `resent` is how often the request was sent before.
    pub(super) fn begin(
        node: &UpstreamNode,
        outgoing: &Outgoing,
        resent: u32,
        is_out_of_time: Arc<AtomicBool>,
    ) -> Self {
        Self {
            span: try_span(node, outgoing, resent),
            is_described: false,
            is_out_of_time,
        }
    }

    /// Returns its position, for the application.
    pub(super) fn context(&self) -> Option<SpanContext> {
        self.span.context()
    }

    /// Says what came of the try.
    pub(super) fn describe(&mut self, answer: &Result<Response<AnswerBody>, AttemptError>) {
        self.is_described = true;
        match answer {
            Ok(answer) => {
                let status = answer.status();
                self.span.set("http.response.status_code", status.as_u16());
                if status.is_server_error() {
                    self.span.fail(status.as_str().to_owned());
                }
            }
            Err(error) => self.span.fail(error.outcome()),
        }
    }
}

impl Drop for TrySpan {
    fn drop(&mut self) {
        if self.is_described {
            return;
        }
        match self.is_out_of_time.load(Ordering::Relaxed) {
            true => self.span.fail("timeout"),
            false => self.span.set("tidegate.outcome", "cancelled"),
        }
    }
}

fn try_span(node: &UpstreamNode, outgoing: &Outgoing, resent: u32) -> ActiveSpan {
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
