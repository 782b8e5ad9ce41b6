//! Spans as OTLP has them, in protobuf or JSON.

use std::time::UNIX_EPOCH;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::record::{SpanKind, SpanRecord};
use super::value::Value;

/// How messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// Encodes spans of this process.
    pub(super) fn request(self, resource: &[(String, String)], spans: &[SpanRecord]) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: "tidegate".to_owned(),
            ..InstrumentationScope::default()
        };
        let texts = resource.iter();
        let texts = texts.map(|(key, value)| pair(key, Any::StringValue(value.clone())));
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: texts.collect(),
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: spans.iter().map(span).collect(),
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        match self {
            Self::Protobuf => request.encode_to_vec(),
            // No map with other keys than texts, so this cannot fail.
            Self::Json => serde_json::to_vec(&request).unwrap_or_default(),
        }
    }

    /// Returns how many of the `sent` spans a collector says that it has not taken. It may say any number: a
    /// counter that grew by it would wrap.
    pub(super) fn rejected(self, answer: &[u8], sent: usize) -> u64 {
        let said = match self {
            Self::Protobuf => {
                let answer = ExportTraceServiceResponse::decode(answer).ok();
                let partial = answer.and_then(|it| it.partial_success);
                partial.map_or(0, |it| it.rejected_spans.try_into().unwrap_or(0))
            }
            Self::Json => {
                // JSON has numbers of 64 bits as texts; some collectors write numbers.
                let answer = serde_json::from_slice(answer).unwrap_or(serde_json::Value::Null);
                let rejected = &answer["partialSuccess"]["rejectedSpans"];
                let text = rejected.as_str().and_then(|text| text.parse().ok());
                text.or(rejected.as_u64()).unwrap_or(0)
            }
        };
        said.min(sent as u64)
    }
}

fn span(record: &SpanRecord) -> Span {
    let started = record.started.duration_since(UNIX_EPOCH);
    let started = started.unwrap_or_default();
    let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let parent = record.parent.map(|id| id.0.to_be_bytes().to_vec());
    let status = record.is_error.then(|| Status {
        code: StatusCode::Error as i32,
        ..Status::default()
    });
    let attributes = record.attributes.iter();
    let kind = match record.kind {
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
    };
    Span {
        trace_id: record.context.trace.0.to_be_bytes().to_vec(),
        span_id: record.context.span.0.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        // Sampled; the flags of the trace are the low byte.
        flags: 1,
        name: record.name.clone().into_owned(),
        kind: kind as i32,
        start_time_unix_nano: nanos(started),
        end_time_unix_nano: nanos(started + record.took),
        attributes: attributes.map(|(key, it)| pair(key, any(it))).collect(),
        status,
        ..Span::default()
    }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn any(value: &Value) -> Any {
    match value {
        Value::Whole(number) => Any::IntValue(*number),
        Value::Word(_) | Value::Shared(_) | Value::Text(_) => {
            Any::StringValue(value.text().unwrap_or_default().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::super::context::{SpanContext, SpanId, TraceId};
    use super::*;

    fn record() -> SpanRecord {
        SpanRecord {
            context: SpanContext {
                trace: TraceId(0xaf),
                span: SpanId(0xb7),
                is_sampled: true,
            },
            parent: Some(SpanId(0xc1)),
            name: "GET /kv/{k}".into(),
            kind: SpanKind::Server,
            started: UNIX_EPOCH + Duration::from_secs(1),
            took: Duration::from_millis(5),
            attributes: vec![
                ("http.request.method", "GET".into()),
                ("http.response.status_code", 200u16.into()),
            ],
            is_error: false,
        }
    }

    #[test]
    fn a_span_is_the_same_in_protobuf_and_in_json() {
        let resource = [("service.name".to_owned(), "tidegate".to_owned())];
        let encoded = |it: Encoding| it.request(&resource, &[record()]);
        let protobuf = encoded(Encoding::Protobuf);
        let protobuf = ExportTraceServiceRequest::decode(&protobuf[..]).unwrap();
        let json = encoded(Encoding::Json);
        assert_eq!(
            protobuf,
            serde_json::from_slice::<ExportTraceServiceRequest>(&json).unwrap()
        );
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], format!("{:032x}", 0xaf));
        assert_eq!(span["parentSpanId"], "00000000000000c1");
        assert_eq!(span["kind"], 2);
        assert_eq!(span["endTimeUnixNano"], "1005000000");
        assert_eq!(span["attributes"][1]["value"]["intValue"], "200");
    }

    #[test]
    fn what_a_collector_has_not_taken_is_read_of_its_answer() {
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#;
        assert_eq!(Encoding::Json.rejected(json, 9), 3);
        let number = br#"{"partialSuccess":{"rejectedSpans":3}}"#;
        assert_eq!(Encoding::Json.rejected(number, 9), 3);
        assert_eq!(Encoding::Protobuf.rejected(&[10, 2, 8, 3], 9), 3);
        for nothing in [&b""[..], b"{}", b"garbage"] {
            assert_eq!(Encoding::Json.rejected(nothing, 9), 0);
            assert_eq!(Encoding::Protobuf.rejected(nothing, 9), 0);
        }
    }

    #[test]
    fn a_collector_has_rejected_no_more_spans_than_it_was_sent() {
        let json = |number: &str| {
            let answer = format!("{{\"partialSuccess\":{{\"rejectedSpans\":{number}}}}}");
            Encoding::Json.rejected(answer.as_bytes(), 9)
        };
        for many in ["\"18446744073709551615\"", "18446744073709551615", "\"10\""] {
            assert_eq!(json(many), 9, "{many}");
        }
        for less_than_none in ["\"-1\"", "-1", "1e30"] {
            assert_eq!(json(less_than_none), 0, "{less_than_none}");
        }
        let protobuf = |number: i64| {
            let partial = ExportTracePartialSuccess {
                rejected_spans: number,
                ..ExportTracePartialSuccess::default()
            };
            let answer = ExportTraceServiceResponse {
                partial_success: Some(partial),
            };
            Encoding::Protobuf.rejected(&answer.encode_to_vec(), 9)
        };
        assert_eq!(
            [i64::MAX, 9, 1, -1, i64::MIN].map(protobuf),
            [9, 9, 1, 0, 0]
        );
    }
}
