//! Requests to the database.

use tidegate::testkit::Cluster;

use super::kit::{
    CLIENT, Collector, INTERNAL, SERVER, assert_attributes, attribute, hex, is_error,
};
use crate::world::{World, configured, gateway_of};

const FILE: &str = r#"
[server]
request_deadline = "3s"
[[endpoint]]
method = "GET"
path = "/slow"
sql = "select pg_sleep(30)::text as slept"
[[policy]]
path = "/kv/*"
consistency = "eventual"
[[policy]]
path = "/kept/*"
consistency = "eventual"
cache_control = "public, max-age=300"
[[endpoint]]
method = "GET"
path = "/kv/{k}"
sql = "select :path.k as k, 'fixed' as v, :query.q as q"
single = true
[[endpoint]]
method = "GET"
path = "/kept/{k}"
sql = "select :path.k as k"
[[endpoint]]
method = "POST"
path = "/fails"
sql = "select 1 / (case when :body.secret = '' then 1 else 0 end) as x"
"#;

async fn world(collector: &Collector) -> World {
    let cluster = Cluster::start(1).await.unwrap();
    let gateway = configured(&cluster, gateway_of(&cluster), FILE);
    let variables = collector.variables(&[]).into_iter();
    let gateway = variables.fold(gateway, |all, (name, value)| all.env(name, value));
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    world
}

#[tokio::test]
async fn a_read_is_a_trace_of_its_decision_its_attempt_and_its_statement() {
    let collector = Collector::start().await;
    let world = world(&collector).await;
    let request = world.request(http::Method::GET, "/kv/7?q=hidden");
    let request = request.header("User-Agent", "probe/1");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let trace = collector.trace("GET /kv/{k}").await;

    let server = trace.one("GET /kv/{k}");
    assert_eq!((server.kind, server.parent_span_id.len()), (SERVER, 0));
    assert_attributes(
        server,
        &[
            ("http.request.method", "GET"),
            ("http.route", "/kv/{k}"),
            ("url.path", "/kv/7"),
            ("url.scheme", "http"),
            ("http.response.status_code", "200"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "probe/1"),
            ("tidegate.level", "eventual"),
            ("tidegate.node", "eu-west-1"),
            ("tidegate.reason", "fresh"),
            ("url.query", ""),
            ("error.type", ""),
        ],
    );
    let decide = trace.one("decide");
    let attempt = trace.one("attempt");
    let statement = trace.statement();
    for span in [decide, attempt] {
        assert_eq!(span.kind, INTERNAL);
        assert_eq!(trace.parent(span).span_id, server.span_id);
    }
    assert_attributes(decide, &[("tidegate.level", "eventual")]);
    assert_attributes(
        attempt,
        &[("tidegate.node", "eu-west-1"), ("tidegate.reason", "fresh")],
    );
    assert_eq!(statement.kind, CLIENT);
    assert_eq!(trace.parent(statement).span_id, attempt.span_id);
    let port = world.cluster.replicas[0].port().to_string();
    assert_attributes(
        statement,
        &[
            ("db.system.name", "postgresql"),
            ("server.port", &port),
            (
                "db.query.text",
                "select :path.k as k, 'fixed' as v, :query.q as q",
            ),
        ],
    );
    assert_eq!(attribute(statement, "db.namespace"), statement.name);
    for span in &trace.0 {
        let is_within = span.start_time_unix_nano >= server.start_time_unix_nano
            && span.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000;
        assert!(is_within && !is_error(span), "{span:#?}");
    }
    assert!(!format!("{:?}", collector.spans()).contains("hidden"));
}

#[tokio::test]
async fn a_recorded_requests_line_names_its_span_and_its_resource_is_this_process() {
    let collector = Collector::start().await;
    let world = world(&collector).await;
    world.get_with("/kv/7", "X-Request-Id", "traced-1").await;
    let trace = collector.trace("GET /kv/{k}").await;
    let server = trace.one("GET /kv/{k}");
    let line = world
        .gateway
        .wait_for_log("\"request_id\":\"traced-1\"")
        .await;
    let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(line["trace_id"], hex(&server.trace_id), "{line}");
    assert_eq!(line["span_id"], hex(&server.span_id), "{line}");

    let sent = &collector.sent()[0];
    assert_eq!(sent.target, "/v1/traces");
    let resource = sent.request.resource_spans[0].resource.clone().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|it| &*it.key).collect();
    for key in [
        "service.name",
        "service.version",
        "service.instance.id",
        "cloud.region",
    ] {
        assert!(keys.contains(&key), "{keys:?}");
    }
}

#[tokio::test]
async fn a_kept_answer_is_a_trace_of_the_cache_and_a_new_one_also_of_what_fetched_it() {
    let collector = Collector::start().await;
    let world = world(&collector).await;
    assert_eq!(world.get("/kept/a").await.status(), 200);
    let trace = collector.trace("GET /kept/{k}").await;
    let cache = trace.one("cache");
    assert_attributes(cache, &[("tidegate.cache", "miss")]);
    assert_eq!(trace.parent(cache).name, "GET /kept/{k}");
    assert_eq!(trace.parent(trace.one("attempt")).span_id, cache.span_id);

    let before = collector.spans().len();
    assert_eq!(world.get("/kept/a").await.status(), 200);
    let later = collector
        .until("the hit", |spans| spans.len() >= before + 2)
        .await;
    let hit = super::kit::Trace(later[before..].to_vec());
    assert_attributes(hit.one("GET /kept/{k}"), &[("tidegate.cache", "hit")]);
    assert_attributes(hit.one("cache"), &[("tidegate.cache", "hit")]);
    assert_eq!(hit.0.len(), 2, "{:#?}", hit.0);
}

#[tokio::test]
async fn a_statement_that_fails_says_its_sqlstate_and_a_clients_mistake_is_no_error() {
    let collector = Collector::start().await;
    let world = world(&collector).await;
    let response = world.post_json("/fails", r#"{"secret":"hush"}"#).await;
    assert_eq!(response.status(), 400);
    let trace = collector.trace("POST /fails").await;
    let statement = trace.statement();
    assert_attributes(statement, &[("db.response.status_code", "22012")]);
    let server = trace.one("POST /fails");
    assert_attributes(server, &[("http.response.status_code", "400")]);
    let attempt = trace.one("attempt");
    assert!(!is_error(server) && !is_error(statement) && !is_error(attempt));
    assert_attributes(attempt, &[("tidegate.outcome", "rejected")]);

    assert_eq!(world.get("/nowhere").await.status(), 404);
    let trace = collector.trace("GET").await;
    let lost = trace.one("GET");
    assert!(!is_error(lost));
    assert_attributes(
        lost,
        &[("http.response.status_code", "404"), ("http.route", "")],
    );
    assert!(!format!("{:?}", collector.spans()).contains("hush"));
}

#[tokio::test]
async fn a_statement_that_runs_out_of_time_is_an_error_of_each_span_around_it() {
    let collector = Collector::start().await;
    let world = world(&collector).await;
    assert_eq!(world.get("/slow").await.status(), 504);
    let trace = collector.trace("GET /slow").await;
    assert!(is_error(trace.one("GET /slow")));
    let attempts: Vec<_> = trace.all("attempt").collect();
    assert!(!attempts.is_empty());
    for attempt in attempts {
        assert_attributes(attempt, &[("error.type", "timeout")]);
    }
}
