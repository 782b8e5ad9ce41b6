//! Requests that one region's gateway hands to another's.

use super::kit::{CLIENT, Collector, SERVER, assert_attributes, attribute};
use crate::handing_on::{FleetScene, named};

const AWAY: &str = "policy away { prefer us-east-1 | local }\n";

#[tokio::test]
async fn the_other_gateways_span_is_below_the_hand_on_and_the_trace_is_an_exemplar_of_the_policy() {
    let collector = Collector::start().await;
    let mut scene = FleetScene::prepared(2, AWAY, "", named).await;
    for at in 0..2 {
        let variables = collector.variables(&[]).into_iter();
        let variables = variables.map(|(name, value)| (at, name, value));
        scene.variables.extend(variables);
    }
    scene.start_all().await;
    assert_eq!(scene.get("/app/a").await.status(), 200);
    let is_whole = |spans: &[opentelemetry_proto::tonic::trace::v1::Span]| {
        spans.iter().filter(|it| it.kind == SERVER).count() >= 2
    };
    let spans = collector.until("both requests", is_whole).await;
    let trace = super::kit::Trace(spans);
    let handed_on = trace.one("hand-on");
    assert_eq!(handed_on.kind, CLIENT);
    assert_attributes(
        handed_on,
        &[
            ("tidegate.region", "us-east-1"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
        ],
    );
    let entry = trace.parent(handed_on);
    assert_eq!((entry.kind, entry.parent_span_id.len()), (SERVER, 0));
    let there = trace
        .0
        .iter()
        .find(|it| it.parent_span_id == handed_on.span_id);
    let there = there.expect("a span below the hand-on");
    assert_eq!(there.kind, SERVER);
    assert_eq!(attribute(there, "tidegate.region"), "us-east-1");
    let sent = trace.one("GET");
    assert_eq!(trace.parent(sent).span_id, there.span_id);
    assert!(trace.0.iter().all(|it| it.trace_id == entry.trace_id));
    let page = scene.gateway(0).admin_url("/metrics");
    let page = crate::world::client().get(page);
    let page = page.header("accept", "application/openmetrics-text");
    let page = page.send().await.unwrap().text().await.unwrap();
    let trace_id = super::kit::hex(&entry.trace_id);
    let is_exemplar = |line: &str| {
        line.starts_with("tidegate_traffic_duration_seconds_bucket{")
            && line.contains(&format!(" # {{trace_id=\"{trace_id}\""))
    };
    assert!(page.lines().any(is_exemplar), "{page}");
    let asked = scene.app(1).last().field("traceparent");
    assert!(asked.contains(&super::kit::hex(&sent.span_id)), "{asked}");
}
