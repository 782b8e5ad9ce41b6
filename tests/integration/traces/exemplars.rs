//! Examples of slow and fast requests in the page of metrics.

use std::process::Stdio;

use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::kit::Collector;
use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::tool;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Reads a page with the strict parser of Prometheus's client library, and prints what exemplars there are.
const PARSE: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        if sample.exemplar:
            print(family.type, sample.name, sample.exemplar.labels['trace_id'])
";

/// A gateway that has answered one sampled request and one that is not.
async fn edge(collector: &Collector, app: &App) -> Edge {
    let file = endpoint("*", "/app/{*rest}", &app.url());
    let edge = Edge::with_all(&collector.variables(&[]), file).await;
    for (path, flags) in [("/app/a", "01"), ("/nowhere", "00")] {
        let request = edge.request(Method::GET, path);
        let parent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
        request.header("traceparent", parent).send().await.unwrap();
    }
    edge
}

async fn page(edge: &Edge, accept: &str) -> (String, String) {
    let request = edge.client.get(edge.gateway.admin_url("/metrics"));
    let answer = request.header("accept", accept).send().await.unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn a_sampled_request_is_an_exemplar_of_its_bucket_where_openmetrics_is_asked_for() {
    let (collector, app) = (Collector::start().await, App::answering(200, "well").await);
    let edge = edge(&collector, &app).await;
    let (kind, plain) = page(&edge, "text/plain").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!plain.contains(" # {") && !plain.contains("# EOF"));

    let (kind, page) = page(&edge, "application/openmetrics-text;version=1.0.0").await;
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    let exemplars: Vec<_> = page.lines().filter(|line| line.contains(" # {")).collect();
    let [line] = exemplars[..] else {
        panic!("one exemplar: {exemplars:?}");
    };
    let start = "tidegate_request_duration_seconds_bucket{endpoint=\"/app/{*rest}\",le=\"";
    assert!(line.starts_with(start), "{line}");
    assert!(
        line.contains(&format!("# {{trace_id=\"{TRACE}\",span_id=\"")),
        "{line}"
    );
}

#[tokio::test]
async fn a_strict_parser_reads_the_page_with_its_exemplars() {
    let Some(python) = tool("openmetrics-python") else {
        eprintln!(
            "SKIPPED: prometheus_client is not installed, and it cannot be installed from PyPI"
        );
        return;
    };
    let (collector, app) = (Collector::start().await, App::answering(200, "well").await);
    let edge = edge(&collector, &app).await;
    let (_, page) = page(&edge, "application/openmetrics-text").await;
    let mut parser = Command::new(python);
    parser.args(["-c", PARSE]).stdin(Stdio::piped());
    let parser = parser.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut parser = parser.spawn().unwrap();
    let mut input = parser.stdin.take().unwrap();
    input.write_all(page.as_bytes()).await.unwrap();
    drop(input);
    let output = parser.wait_with_output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{page}");
    let found = String::from_utf8(output.stdout).unwrap();
    let expected = format!("histogram tidegate_request_duration_seconds_bucket {TRACE}\n");
    assert_eq!(found, expected);
}
