//! What operators see: metrics, one line per request, causes; and what must not be visible.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::Value;
use tidegate::http::JsonObject;
use tidegate::testkit::{GatewayCommand, GatewayProcess, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fleet::certificates;
use crate::infra::with_tls;
use crate::upstream::websocket::{AGREED, HANDSHAKE, echo};
use crate::world::{
    DEADLINE, JWT_SECRET, TOKEN_SECRET, World, configured, gateway_of, header, jwt,
    migrated_cluster, problem,
};

const NAMES: &str = include_str!("../../src/telemetry/names.rs");

/// Metrics and their labels, as listed in the design.
const LABELS: [(&str, &[&str]); 16] = [
    ("tidegate_spans_dropped_total", &["reason"]),
    ("tidegate_requests_total", &["endpoint", "method", "status"]),
    ("tidegate_request_duration_seconds_count", &["endpoint"]),
    (
        "tidegate_level_duration_seconds_count",
        &["level", "served"],
    ),
    ("tidegate_decisions_total", &["level", "node", "reason"]),
    ("tidegate_rate_limited_total", &["policy"]),
    ("tidegate_replication_lag_seconds", &["node"]),
    ("tidegate_staleness_seconds", &["node"]),
    ("tidegate_node_condition", &["condition", "node"]),
    ("tidegate_pool_connections", &["node"]),
    (
        "tidegate_upstream_requests_total",
        &["node", "outcome", "upstream"],
    ),
    (
        "tidegate_upstream_duration_seconds_count",
        &["node", "upstream"],
    ),
    ("tidegate_upstream_tunnels_open", &["upstream"]),
    ("tidegate_upstream_positions_total", &["result"]),
    ("tidegate_build_info", &["region", "version"]),
    ("tidegate_connections_open", &["listener"]),
];

/// A word that a client sends wherever it can.
const CHOSEN: &str = "chosen-by-a-client";

const FILE: &str = r#"
[server]
header_timeout = "500ms"
[[policy]]
path = "/public/*"
consistency = "eventual"
cache_control = "public, max-age=300"
[[policy]]
path = "/limited/*"
rate_limit = "1/h"
[[endpoint]]
method = "GET"
path = "/public/docs/{slug}"
sql = "select slug, title from documents where slug = :path.slug"
single = true
[[endpoint]]
method = "GET"
path = "/app/ws"
upstream = "${APP_URL}"
[[endpoint]]
method = "GET"
path = "/public/broken"
sql = "select pg_read_file('/nowhere/only-for-operators') as text"
[[endpoint]]
method = "POST"
path = "/api/v1/transfers"
auth = "jwt"
status = 201
sql = "select * from create_transfer(:claims.sub, :body.to, :body.amount, :body.currency, :header.idempotency-key)"
single = true
"#;

/// Opens a WebSocket to an application behind the gateway, and leaves it.
async fn open_websocket(world: &World) {
    let mut socket = TcpStream::connect(world.gateway.listen()).await.unwrap();
    socket.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

async fn world(adjust: impl FnOnce(GatewayCommand) -> GatewayCommand) -> World {
    let cluster = migrated_cluster(1).await;
    let gateway = gateway_of(&cluster).env("APP_URL", "http://127.0.0.1:1");
    let gateway = configured(&cluster, adjust(gateway), FILE);
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    world
}

impl World {
    /// The access lines of a request id, once there is one.
    async fn access_lines(&self, id: &str) -> Vec<Value> {
        let lines = async || {
            let lines = self.lines(id);
            let access = |line: &Value| line["target"] == "tidegate::access";
            let lines: Vec<_> = lines.into_iter().filter(access).collect();
            Ok((!lines.is_empty()).then_some(lines))
        };
        until("the access line", DEADLINE, lines).await.unwrap()
    }

    /// Every line so far with a request id.
    fn lines(&self, id: &str) -> Vec<Value> {
        let log = self.gateway.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["request_id"] == id)
            .collect()
    }
}

/// The names of the labels of a series.
fn labels(series: &str) -> BTreeSet<&str> {
    let inner = series.split_once('{').map_or("", |(_, inner)| inner);
    let names = inner
        .split("\",")
        .filter_map(|label| label.split_once("=\""));
    names.map(|(name, _)| name).collect()
}

/// Makes a connection time out over its head, a session read wait, and a client exceed its rate
/// limit.
async fn provoke(world: &World) {
    let mut slow = TcpStream::connect(world.gateway.listen()).await.unwrap();
    slow.write_all(b"GET ").await.unwrap();
    slow.read_to_end(&mut Vec::new()).await.unwrap();
    for status in [404, 429] {
        let limited = world.get(&format!("/limited/{CHOSEN}")).await;
        assert_eq!(limited.status(), status);
    }
    world.cluster.replicas[0].pause_replay().await.unwrap();
    world.write().await;
    let strong = world.get_at("/public/docs/terms", "strong").await;
    let request = world.request(Method::GET, "/public/docs/terms");
    let token = header(&strong, "x-consistency-token");
    let read = request.header("X-Consistency-Token", token).send().await;
    assert_eq!(read.unwrap().status(), 200);
    world.cluster.replicas[0].resume_replay().await.unwrap();
}

/// They appear with the first failover and with another region of a fleet, which tests of traffic policies
/// and of tunnels bring about.
const ELSEWHERE: [&str; 5] = [
    "tidegate_failover_seconds",
    "tidegate_tunnel_requests_total",
    "tidegate_tunnel_duration_seconds",
    "tidegate_fleet_round_trip_seconds",
    "tidegate_fleet_streams",
];

/// A gateway with a fleet and a traffic policy, whose files are in a directory.
async fn world_with_everything(place: &Path, url: &str) -> World {
    let written = certificates(place, &["--regions", "eu-west-1"]).await;
    assert!(written.status.success(), "{written:?}");
    let file = |name: &str| place.join(name);
    let policy = "region eu-west-1\npolicy p { prefer local }\n";
    std::fs::write(file("traffic.policy"), policy).unwrap();
    world(|gateway| {
        gateway
            .env("APP_URL", url)
            // No collector is there, so spans are dropped.
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("TIDEGATE_TRAFFIC_POLICY", file("traffic.policy"))
            .env("FLEET_ADDR", "127.0.0.1:0")
            .env("FLEET_CERT", file("eu-west-1.crt"))
            .env("FLEET_KEY", file("eu-west-1.key"))
            .env("FLEET_CA", file("ca.crt"))
    })
    .await
}

/// A second gateway, with TLS, of which a handshake has begun.
async fn gateway_with_tls(world: &World, url: &str) -> GatewayProcess {
    let secure = gateway_of(&world.cluster).env("APP_URL", url);
    let secure = with_tls(configured(&world.cluster, secure, FILE));
    let secure = secure.start().await.unwrap();
    let mut socket = TcpStream::connect(secure.listen()).await.unwrap();
    // The beginning of a handshake.
    socket.write_all(&[22]).await.unwrap();
    drop(socket);
    secure
}

#[tokio::test]
async fn every_metric_is_there_and_no_label_is_chosen_by_a_client() {
    let application = echo(AGREED).await;
    let url = format!("http://{}", application.address);
    let place = tempfile::tempdir().unwrap();
    let world = world_with_everything(place.path(), &url).await;
    provoke(&world).await;
    open_websocket(&world).await;
    for path in ["docs/", "", "docs/x/", "..%2f"] {
        let path = format!("/public/{path}{CHOSEN}?{CHOSEN}={CHOSEN}");
        let method = Method::from_bytes(CHOSEN.to_uppercase().as_bytes()).unwrap();
        for method in [Method::GET, Method::DELETE, method] {
            let request = world.request(method, &path).header("X-Request-Id", CHOSEN);
            let request = request
                .header("X-Consistency", "strong")
                .header("Host", CHOSEN);
            assert!(request.send().await.unwrap().status().is_client_error());
        }
    }
    let names = NAMES
        .split('"')
        .filter(|word| word.starts_with("tidegate_") && !ELSEWHERE.contains(word))
        // Those are in the tests of object storage.
        .filter(|word| !word.starts_with("tidegate_storage_"));
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 16);
    let secure = gateway_with_tls(&world, &url).await;
    until("every metric is there", DEADLINE, async || {
        let of_tls = world
            .client
            .get(secure.admin_url("/metrics"))
            .send()
            .await?;
        let of_tls = of_tls.text().await?;
        let page = world.metrics().await + &of_tls;
        let absent = |name: &&&str| !page.contains(&format!("# TYPE {name} "));
        let absent: Vec<_> = names.iter().filter(absent).collect();
        anyhow::ensure!(absent.is_empty(), "no {absent:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let page = world.metrics().await;
    for (name, expected) in LABELS {
        let start = format!("{name}{{");
        let mut series = page
            .lines()
            .filter(|line| line.starts_with(&start))
            .peekable();
        assert!(series.peek().is_some(), "{name}");
        for series in series {
            assert!(labels(series).iter().eq(expected), "{series}");
        }
    }
    assert!(!page.to_lowercase().contains(CHOSEN), "{page}");
    assert!(page.contains("le=\"0.03\""));
    assert!(page.contains("\nprocess_open_fds "));
    let unmatched =
        "tidegate_requests_total{endpoint=\"unmatched\",method=\"other\",status=\"404\"}";
    assert!(page.contains(unmatched), "{page}");
}

#[tokio::test]
async fn a_request_has_one_line_with_all_that_became_of_it() {
    let world = world(|gateway| gateway).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = world.request(Method::GET, "/public/docs/terms");
    let request = request.header("X-Request-Id", "plain-1");
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let request = world.request(Method::GET, "/public/nothing");
    let request = request
        .header("X-Request-Id", "lost-1")
        .send()
        .await
        .unwrap();
    problem(request, 404, "not-found").await;
    let [line] = &world.access_lines("plain-1").await[..] else {
        panic!("one line: {}", world.gateway.log());
    };
    for (field, value) in [
        ("trace_id", trace),
        ("method", "GET"),
        ("endpoint", "/public/docs/{slug}"),
        ("severity", "INFO"),
        ("level", "eventual"),
        ("node", "eu-west-1"),
        ("reason", "fresh"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(line["status"], 200);
    for field in ["staleness_s", "route_ms", "wait_ms", "db_ms", "total_ms"] {
        assert!(
            line[field].as_f64().is_some_and(|number| number >= 0.0),
            "{field}: {line}"
        );
    }
    let [line] = &world.access_lines("lost-1").await[..] else {
        panic!("one line: {}", world.gateway.log());
    };
    assert_eq!(
        (&line["status"], &line["problem"]),
        (&404.into(), &"not-found".into())
    );
    assert_eq!(line["endpoint"], "unmatched");
    for line in world.gateway.log().lines() {
        let members = JsonObject::parse(line.as_bytes());
        assert!(members.is_ok(), "a key comes twice: {line}");
    }
}

#[tokio::test]
async fn the_cause_of_a_fault_is_logged_once_and_shown_to_nobody() {
    let world = world(|gateway| gateway).await;
    let request = world.request(Method::GET, "/public/broken");
    let response = request
        .header("X-Request-Id", "broken-1")
        .send()
        .await
        .unwrap();
    let detail = problem(response, 500, "internal").await;
    assert!(
        !detail.contains("nowhere") && !detail.contains("file"),
        "{detail}"
    );
    assert_eq!(world.access_lines("broken-1").await.len(), 1);
    let lines = world.lines("broken-1");
    let causes = lines.iter().filter(|line| line["cause"].is_string());
    let causes: Vec<_> = causes.collect();
    assert_eq!(causes.len(), 1, "{lines:?}");
    assert!(
        causes[0]["cause"]
            .as_str()
            .unwrap()
            .contains("only-for-operators")
    );
    let told = world.gateway.log().matches("only-for-operators").count();
    assert_eq!(told, 1, "{}", world.gateway.log());
}

#[tokio::test]
async fn no_log_at_debug_level_holds_a_secret() {
    let mut world = world(|gateway| gateway.env("RUST_LOG", "debug")).await;
    let jwt = jwt("alice").await;
    let body = serde_json::json!({"to": "bob", "currency": "USD", "amount": "1.00"});
    let write = world
        .request(Method::POST, "/api/v1/transfers")
        .bearer_auth(&jwt);
    let write = write
        .header("Idempotency-Key", "key-of-a-client")
        .json(&body);
    let written = write.send().await.unwrap();
    assert_eq!(written.status(), 201);
    let token = header(&written, "x-consistency-token").to_owned();
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [world.client.clone(), http2] {
        let read = client.get(world.gateway.url("/public/docs/terms"));
        let read = read.bearer_auth(&jwt).header("X-Consistency-Token", &token);
        assert_eq!(read.send().await.unwrap().status(), 200);
    }
    world.replica().kill().await.unwrap();
    world.cluster.primary.kill().await.unwrap();
    world.health_turns(503).await;
    let request = world.request(Method::GET, "/public/docs/terms");
    let request = request
        .header("X-Request-Id", "last-1")
        .send()
        .await
        .unwrap();
    problem(request, 503, "no-node").await;
    world.access_lines("last-1").await;
    let log = world.gateway.log();
    assert!(log.contains("\"severity\":\"DEBUG\""));
    let signature = jwt.rsplit('.').next().unwrap();
    let secrets = [
        JWT_SECRET,
        TOKEN_SECRET,
        "keep-me-out-of-logs",
        signature,
        &token,
        "key-of-a-client",
    ];
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
