//! Requests to applications.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use http::{Method, StatusCode};

use super::kit::{CLIENT, Collector, assert_attributes, attribute, hex, is_error};
use crate::upstream::kit::{App, Edge, endpoint, upstream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

async fn before(app: &App, collector: &Collector, more: &[(&'static str, &str)]) -> Edge {
    let file = endpoint("*", "/app/{*rest}", &app.url());
    Edge::with_all(&collector.variables(more), file).await
}

#[tokio::test]
async fn an_application_gets_the_id_of_its_try_within_the_clients_trace() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[]).await;
    let request = edge.request(Method::GET, "/app/a?token=hush");
    let request = request
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "vendor=1,other=2");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let trace = collector.trace("GET /app/{*rest}").await;
    let server = trace.one("GET /app/{*rest}");
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), PARENT);
    let sent = trace.one("GET");
    assert_eq!(sent.kind, CLIENT);
    assert_eq!(trace.parent(sent).span_id, server.span_id);
    let port = app.address.port().to_string();
    assert_attributes(
        sent,
        &[
            ("http.request.method", "GET"),
            ("url.full", &format!("{}/app/a", app.url())),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("http.response.status_code", "200"),
            ("http.request.resend_count", ""),
        ],
    );
    let asked = app.last();
    let expected = format!("00-{TRACE}-{}-01", hex(&sent.span_id));
    assert_eq!(asked.field("traceparent"), expected);
    assert_eq!(asked.field("tracestate"), "vendor=1,other=2");
}

#[tokio::test]
async fn a_second_try_has_a_span_of_its_own_and_says_that_it_is_one() {
    let collector = Collector::start().await;
    let (bad, good) = (
        App::answering(500, "no").await,
        App::answering(404, "yes").await,
    );
    let nodes = upstream(&[("eu-west-1", &bad.url()), ("us-east-1", &good.url())], "");
    let file = format!("{nodes}{}", endpoint("GET", "/app/{id}", "app"));
    let edge = Edge::with_all(&collector.variables(&[]), file).await;
    assert_eq!(edge.get("/app/7").await.status(), 404);
    let trace = collector.trace("GET /app/{id}").await;
    let mut tries: Vec<_> = trace.all("GET").collect();
    tries.sort_by_key(|span| span.start_time_unix_nano);
    let [first, second] = tries[..] else {
        panic!("two tries: {:#?}", trace.0);
    };
    assert_attributes(
        first,
        &[("http.response.status_code", "500"), ("error.type", "500")],
    );
    assert_attributes(
        second,
        &[
            ("http.response.status_code", "404"),
            ("http.request.resend_count", "1"),
            ("error.type", ""),
        ],
    );
    assert!(is_error(first) && !is_error(second));
    assert!(!is_error(trace.one("GET /app/{id}")));
    let traceparent = |app: &App| app.last().field("traceparent");
    assert!(traceparent(&bad).contains(&hex(&first.span_id)));
    assert!(traceparent(&good).contains(&hex(&second.span_id)));
}

#[tokio::test]
async fn an_application_that_is_gone_is_an_error_of_the_try_and_of_the_request() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[]).await;
    drop(app);
    assert_eq!(edge.get("/app/a").await.status(), 503);
    let trace = collector.trace("GET /app/{*rest}").await;
    let server = trace.one("GET /app/{*rest}");
    assert!(is_error(server));
    assert_attributes(server, &[("error.type", "no-node")]);
    let sent = trace.one("GET");
    assert!(is_error(sent) && !attribute(sent, "error.type").is_empty());
}

#[tokio::test]
async fn a_try_at_a_silent_application_is_an_error_by_its_timeout() {
    let collector = Collector::start().await;
    let app = App::serve(Router::new().fallback(std::future::pending::<StatusCode>)).await;
    let file = format!(
        "[server]\nrequest_deadline = \"300ms\"\n{}",
        endpoint("*", "/app/{*rest}", &app.url())
    );
    let edge = Edge::with_all(&collector.variables(&[]), file).await;
    assert_eq!(edge.get("/app/a").await.status(), 504);
    let trace = collector.trace("GET /app/{*rest}").await;
    let sent = trace.one("GET");
    assert!(is_error(sent));
    assert_attributes(sent, &[("error.type", "timeout")]);
}

#[tokio::test]
async fn a_request_that_is_not_sampled_is_kept_with_the_trace_that_its_application_sees() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let off = [("OTEL_TRACES_SAMPLER", "always_off")];
    let edge = before(&app, &collector, &off).await;
    let request = edge.request(Method::GET, "/app/a");
    let request = request.header("X-Request-Id", "unsampled-1");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let url = edge.gateway.admin_url("/admin/requests/unsampled-1");
    let kept = edge.client.get(url).send().await.unwrap();
    let kept: serde_json::Value = kept.json().await.unwrap();
    let seen = app.last().field("traceparent");
    let trace = kept["trace_id"].as_str().expect("a trace");
    assert!(seen.starts_with(&format!("00-{trace}-")), "{seen} {kept}");
    assert!(seen.ends_with("-00"), "{seen}");
    assert!(kept["span_id"].is_null(), "{kept}");
}

#[tokio::test]
async fn a_broken_or_doubled_traceparent_begins_a_trace_without_tracestate() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[]).await;
    let good = format!("00-{TRACE}-{PARENT}-01");
    let upper = good.to_uppercase();
    for fields in [
        &["junk"][..],
        &[&good, &good],
        &[&upper],
        &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
        &[],
    ] {
        let before = collector.spans().len();
        let mut request = edge
            .request(Method::GET, "/app/a")
            .header("tracestate", "a=b");
        for field in fields {
            request = request.header("traceparent", *field);
        }
        assert_eq!(request.send().await.unwrap().status(), 200);
        let spans = collector
            .until("a trace", |all| all.len() >= before + 3)
            .await;
        let server = spans[before..]
            .iter()
            .find(|it| it.name == "GET /app/{*rest}")
            .unwrap();
        assert!(server.parent_span_id.is_empty(), "{fields:?}");
        assert_ne!(hex(&server.trace_id), TRACE, "{fields:?}");
        let asked = app.last();
        let begun = asked.field("traceparent");
        assert!(
            begun.contains(&hex(&server.trace_id)),
            "{fields:?}: {begun}"
        );
        assert_eq!(asked.field("tracestate"), "", "{fields:?}");
    }
}

#[tokio::test]
async fn nothing_that_a_client_keeps_secret_is_in_a_span() {
    let collector = Collector::start().await;
    let app = Router::new().fallback(|| async { ([("set-cookie", "hush")], "hush") });
    let app = App::serve(app).await;
    let edge = before(
        &app,
        &collector,
        &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush")],
    )
    .await;
    let request = edge.request(Method::POST, "/app/a?q=hush#hush");
    let request = request
        .header("Authorization", "Bearer hush")
        .header("Cookie", "session=hush")
        .header("X-Request-Id", "hush")
        .header("X-Consistency-Token", "hush")
        .header("tracestate", "hush=hush")
        .header("Referer", "http://hush/")
        .header("X-Forwarded-For", "hush")
        .header("User-Agent", "shown/1")
        .body("hush");
    request.send().await.unwrap();
    let trace = collector.trace("POST /app/{*rest}").await;
    let server = trace.one("POST /app/{*rest}");
    assert_attributes(server, &[("user_agent.original", "shown/1")]);
    let spans = format!("{:?}", collector.spans());
    assert!(!spans.contains("hush"), "{spans}");
    assert_eq!(collector.sent()[0].headers["api-key"], "hush");
    assert!(!edge.gateway.log().contains("api-key"));
}

#[tokio::test]
async fn probes_and_the_admin_listener_are_never_traced() {
    let collector = Collector::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let app = Router::new().fallback(move || async move {
        count.fetch_add(1, Ordering::Relaxed);
        StatusCode::NO_CONTENT
    });
    let app = App::serve(app).await;
    let edge = before(&app, &collector, &[]).await;
    for path in ["/health/live", "/health/edge"] {
        edge.get(path).await;
    }
    for path in ["/metrics", "/livez", "/readyz", "/admin/topology", "/"] {
        let url = edge.gateway.admin_url(path);
        edge.client.get(url).send().await.unwrap();
    }
    edge.get("/app/a").await;
    let trace = collector.trace("GET /app/{*rest}").await;
    assert_eq!(trace.0.len(), collector.spans().len());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn spans_are_sent_as_json_where_that_is_asked_for() {
    let collector = Collector::start().await;
    let app = App::answering(200, "well").await;
    let json = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
    let edge = before(&app, &collector, &json).await;
    edge.get("/app/a").await;
    let trace = collector.trace("GET /app/{*rest}").await;
    assert_attributes(trace.one("GET"), &[("http.response.status_code", "200")]);
    let sent = &collector.sent()[0];
    assert_eq!(sent.headers["content-type"], "application/json");
}
