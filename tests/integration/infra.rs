//! The files under `infra/` agree with the gateway: its policy, its metrics.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reqwest::Method;
use tidegate::testkit::{Cluster, GatewayCommand, until};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{BINARY, DEADLINE, World, configured, gateway_of, told};

/// Reads a file of `infra/`; the faults of `tests/infra/mutations` put a changed copy in its place.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not a setting of the gateway"
)]
fn infra_file(path: &str) -> String {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/infra"));
    let folder = std::env::var_os("INFRA").map_or_else(own, PathBuf::from);
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// The names of metrics that alerts and the dashboard use, with histograms by their own name.
fn metrics_asked_for() -> BTreeSet<String> {
    let text = infra_file("prometheus/alerts.yml") + &infra_file("grafana/tidegate.json");
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

#[tokio::test]
async fn the_edge_policy_is_the_built_in_table() {
    let command = GatewayCommand::new(BINARY, "check").arg("--edge-policy");
    let output = command.output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(
        infra_file("edge-policy.json"),
        String::from_utf8(output.stdout).unwrap(),
        "stale: `tidegate check --edge-policy > infra/edge-policy.json`"
    );
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_have_a_name() {
    let names = include_str!("../../src/telemetry/names.rs");
    let asked = metrics_asked_for();
    assert!(asked.len() > 8, "{asked:?}");
    for name in asked.iter().filter(|name| name.starts_with("tidegate_")) {
        assert!(names.contains(&format!("\"{name}\"")), "no metric {name}");
    }
}

/// Endpoints that change every metric that alerts and the dashboard use.
const FILE: &str = r#"
traffic_policy = "${TRAFFIC_POLICY}"
[[policy]]
path = "/public/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[policy]]
path = "/limited"
rate_limit = "1/h"
[[endpoint]]
method = "GET"
path = "/public/word"
sql = "select 'word' as word"
[[endpoint]]
method = "POST"
path = "/words"
sql = "insert into words values ('written') returning word"
[[endpoint]]
method = "GET"
path = "/limited"
sql = "select 'limited' as word"
[[endpoint]]
method = "GET"
path = "/app"
upstream = "${APP_URL}"
"#;

/// What the names of metrics begin with that only a fleet or object storage has.
const OF_OTHER_TESTS: [&str; 5] = [
    "tidegate_fleet_",
    "tidegate_traffic_revision",
    "tidegate_traffic_rollouts",
    "tidegate_traffic_unplaced",
    "tidegate_storage_",
];

/// Causes every event once, so that metrics that only count events exist.
async fn exercise(world: &mut World) {
    world.replica().pause_replay().await.unwrap();
    let written = world.request(Method::POST, "/words").send().await.unwrap();
    let token = written.headers()["x-consistency-token"].to_str().unwrap();
    let read = world.get_with("/public/word", "X-Consistency-Token", token);
    assert_eq!(told(&read.await, "reason"), "token-behind");
    world.replica().resume_replay().await.unwrap();
    for (path, status) in [
        ("/public/word", 200),
        ("/app", 200),
        ("/limited", 200),
        ("/limited", 429),
    ] {
        assert_eq!(world.get(path).await.status(), status, "{path}");
    }
}

pub(crate) fn with_tls(gateway: GatewayCommand) -> GatewayCommand {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/tls");
    gateway
        .env("TLS_CERT", format!("{files}/server.pem"))
        .env("TLS_KEY", format!("{files}/server_key.pem"))
}

#[tokio::test]
async fn live_metrics_have_all_that_alerts_and_dashboard_ask_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/app", axum::routing::get(|| async {}));
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    let cluster = Cluster::start(1).await.unwrap();
    let schema = "create table words (word text)";
    cluster.primary.execute(schema).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let policy = cluster.workspace().path().join("traffic.policy");
    std::fs::write(&policy, "region eu-west-1\npolicy p { prefer local }\n").unwrap();
    let gateway = || {
        configured(&cluster, gateway_of(&cluster), FILE)
            .env("APP_URL", &url)
            .env("TRAFFIC_POLICY", &policy)
    };
    let secure = with_tls(gateway()).start().await.unwrap();
    // The beginning of a handshake.
    let mut socket = TcpStream::connect(secure.listen()).await.unwrap();
    socket.write_all(&[22]).await.unwrap();
    drop(socket);
    let plain = gateway();
    let mut world = World::over(cluster, plain).await;
    exercise(&mut world).await;

    // Those of a fleet and of its policy store are in the tests of `observability` and `rollouts`.
    let mut asked = metrics_asked_for();
    asked.retain(|name| !OF_OTHER_TESTS.iter().any(|it| name.starts_with(it)));
    // Some appear with the first sample or answer they count.
    let missing = std::cell::RefCell::new(asked);
    let exposed = async || {
        let of_secure = world
            .client
            .get(secure.admin_url("/metrics"))
            .send()
            .await?;
        let text = world.metrics().await + &of_secure.text().await?;
        let absent = |name: &String| !text.contains(&format!("# TYPE {name} "));
        missing.borrow_mut().retain(absent);
        Ok(missing.borrow().is_empty().then_some(()))
    };
    let found = until("every metric is in /metrics", DEADLINE, exposed).await;
    assert!(found.is_ok(), "{found:?}: no {:?}", missing.borrow());
}
