//! A collector that keeps what it is sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tidegate::testkit::until;

use crate::upstream::kit::{App, Edge};
use crate::world::DEADLINE;

/// What a collector was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) request: ExportTraceServiceRequest,
}

/// How a collector answers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Well,
    /// With a status.
    Status(u16),
    /// After so long.
    After(Duration),
    /// With a body that never ends.
    Endless,
    /// That it is busy for as many seconds.
    Busy(&'static str),
    /// Well, but for the rest of the body, which never comes.
    Stalled,
}

#[derive(Clone)]
struct Kept {
    sent: Arc<Mutex<Vec<Sent>>>,
    manner: Arc<Mutex<Manner>>,
}

/// A collector on a free port.
pub(super) struct Collector {
    app: App,
    kept: Kept,
}

impl Collector {
    pub(super) async fn start() -> Self {
        Self::with(Manner::Well).await
    }

    pub(super) async fn with(manner: Manner) -> Self {
        let kept = Kept {
            sent: Arc::default(),
            manner: Arc::new(Mutex::new(manner)),
        };
        let router = Router::new().fallback(receive).with_state(kept.clone());
        Self {
            app: App::serve(router).await,
            kept,
        }
    }

    pub(super) fn turn(&self, manner: Manner) {
        *self.kept.manner.lock().unwrap() = manner;
    }

    /// The variables of a gateway that sends its spans here at once.
    pub(super) fn variables(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.app.url()),
            ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
        ];
        let more = more.iter();
        variables.extend(more.map(|(name, value)| (*name, (*value).to_owned())));
        variables
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.app.address
    }

    /// Waits until it was asked so often.
    pub(super) async fn asked(&self, times: usize) {
        let asked = until("the collector is asked", DEADLINE, async || {
            Ok((self.app.asked().len() >= times).then_some(()))
        });
        asked.await.unwrap();
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.kept.sent.lock().unwrap().clone()
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let sent = self.sent().into_iter();
        let resources = sent.flat_map(|it| it.request.resource_spans);
        let scopes = resources.flat_map(|it| it.scope_spans);
        scopes.flat_map(|it| it.spans).collect()
    }

    /// Waits until there are spans for which this holds, and returns all.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let found = until(what, DEADLINE, async || {
            let spans = self.spans();
            Ok(holds(&spans).then_some(spans))
        });
        found.await.unwrap_or_else(|error| {
            panic!("{error:#}: {:#?}", self.spans());
        })
    }

    /// Waits until the span of a request with this name is there: it ends last, but for those of tasks of their
    /// own.
    pub(super) async fn trace(&self, name: &str) -> Trace {
        let is_named = |spans: &[Span]| spans.iter().any(|span| is_server(span, name));
        let spans = self.until(name, is_named).await;
        let server = spans.iter().rfind(|span| is_server(span, name)).unwrap();
        let id = server.trace_id.clone();
        Trace(spans.into_iter().filter(|it| it.trace_id == id).collect())
    }
}

/// Ends a gateway as an operator does.
pub(super) async fn end(edge: &mut Edge) {
    edge.gateway.signal(Signal::SIGTERM);
    assert!(edge.gateway.wait().await.unwrap().success());
}

/// A gateway that waits for no load balancer when it ends.
pub(super) const ENDS_AT_ONCE: &str = "[server]\ndrain_delay = \"0s\"\n";

fn is_server(span: &Span, name: &str) -> bool {
    span.name == name && span.kind == SERVER
}

pub(super) const INTERNAL: i32 = 1;
pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;

/// The spans of one trace.
pub(super) struct Trace(pub(super) Vec<Span>);

impl Trace {
    /// The only span of a name.
    pub(super) fn one(&self, name: &str) -> &Span {
        let named: Vec<_> = self.all(name).collect();
        assert_eq!(named.len(), 1, "{name}: {:#?}", self.0);
        named[0]
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Span> {
        self.0.iter().filter(move |span| span.name == name)
    }

    /// The only span of a statement.
    pub(super) fn statement(&self) -> &Span {
        let is_one = |it: &&Span| !attribute(it, "db.system.name").is_empty();
        let found: Vec<_> = self.0.iter().filter(is_one).collect();
        assert_eq!(found.len(), 1, "{:#?}", self.0);
        found[0]
    }

    /// The span that another is below.
    pub(super) fn parent(&self, span: &Span) -> &Span {
        let parent = |it: &&Span| it.span_id == span.parent_span_id;
        self.0.iter().find(parent).expect("a parent")
    }
}

/// The text of an attribute; empty where it is absent.
pub(super) fn attribute(span: &Span, key: &str) -> String {
    let mut found = span.attributes.iter().filter(|it| it.key == key);
    let value = found.next().and_then(|it| it.value.clone()?.value);
    assert!(found.next().is_none(), "{key} comes twice: {span:#?}");
    match value {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

/// Asserts the values of attributes.
pub(super) fn assert_attributes(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(attribute(span, key), *value, "{key} of {span:#?}");
    }
}

/// Whether a span has ended in an error.
pub(super) fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

/// An id as `traceparent` has it.
pub(super) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn receive(State(kept): State<Kept>, request: Request) -> Response {
    let manner = *kept.manner.lock().unwrap();
    match manner {
        Manner::Well | Manner::Stalled => {}
        Manner::Busy(seconds) => {
            let wait = [(RETRY_AFTER, seconds)];
            return (StatusCode::SERVICE_UNAVAILABLE, wait).into_response();
        }
        Manner::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Manner::After(time) => tokio::time::sleep(time).await,
        Manner::Endless => return endless(),
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let request = match head.headers[CONTENT_TYPE].to_str().unwrap() {
        "application/x-protobuf" => ExportTraceServiceRequest::decode(body).unwrap(),
        "application/json" => serde_json::from_slice(&body).unwrap(),
        other => panic!("sent as {other}"),
    };
    kept.sent.lock().unwrap().push(Sent {
        target: head.uri.to_string(),
        headers: head.headers,
        request,
    });
    match manner {
        Manner::Stalled => {
            let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            Response::new(Body::from_stream(never))
        }
        _ => StatusCode::OK.into_response(),
    }
}

fn endless() -> Response {
    let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192]));
    let chunks = futures_util::stream::repeat_with(chunk);
    Response::new(Body::from_stream(chunks))
}
