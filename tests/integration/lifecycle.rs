//! Clients that are slow, too many or gone, and how a gateway ends.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{Method, Response};
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, PostgresServer, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{
    BINARY, DEADLINE, World, client, configured, gateway_of, header, problem, told, wait_ready,
};

/// Endpoints that need no schema.
const ENDPOINTS: &str = r#"
[[endpoint]]
method = "GET"
path = "/public/sleep/{seconds}"
sql = "select pg_sleep(:path.seconds)::text as slept"
[[endpoint]]
method = "POST"
path = "/sleep/{seconds}"
sql = "select pg_sleep(:path.seconds)::text as slept"
[[endpoint]]
method = "POST"
path = "/echo"
sql = "select :body.text::text as text"
"#;

async fn world(toml: &str) -> World {
    let cluster = Cluster::start(1).await.unwrap();
    let gateway = configured(
        &cluster,
        gateway_of(&cluster),
        &format!("{toml}{ENDPOINTS}"),
    );
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    world
}

impl World {
    /// Starts another gateway before the same cluster.
    async fn another(&self, toml: &str) -> GatewayProcess {
        let toml = format!("{toml}{ENDPOINTS}");
        let gateway = configured(&self.cluster, gateway_of(&self.cluster), &toml);
        let gateway = gateway.start().await.unwrap();
        wait_ready(&self.client, &gateway).await;
        gateway
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.gateway.listen()).await.unwrap()
    }
}

/// Sends a GET in the background.
fn begin(url: String, level: &'static str) -> JoinHandle<reqwest::Result<Response>> {
    let request = client().get(url).header("X-Consistency", level);
    tokio::spawn(request.send())
}

/// Waits until a number of statements sleep on a server.
async fn sleeping(server: &PostgresServer, count: usize) {
    let active = "state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid()";
    let condition = format!("count(*) = {count} from pg_stat_activity where {active}");
    server.wait_until(&condition).await.unwrap();
}

/// Reads until the other side closes, or an answer has ended.
async fn answer(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = async {
        while socket.read_buf(&mut text).await.is_ok_and(|read| read > 0) {
            if String::from_utf8_lossy(&text).contains("\r\n\r\n") {
                break;
            }
        }
    };
    timeout(DEADLINE, reading).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn a_sigterm_fails_health_at_once_serves_on_and_finishes_what_is_in_flight() {
    let mut world = world("[server]\ndrain_delay = \"2s\"\n").await;
    let slow = begin(world.gateway.url("/public/sleep/4"), "eventual");
    sleeping(&world.cluster.replicas[0], 1).await;
    let signalled = Instant::now();
    world.gateway.signal(Signal::SIGTERM);
    world.gateway.wait_for_log("draining").await.unwrap();
    let ready = client().get(world.gateway.admin_url("/readyz"));
    assert_eq!(ready.send().await.unwrap().status(), 503);
    let edge = world.get("/health/edge").await;
    assert_eq!(edge.status(), 503);
    let body: serde_json::Value = edge.json().await.unwrap();
    assert_eq!(body["checks"]["drain"]["ok"], false);
    let url = world.gateway.url("/public/sleep/0");
    until("the listener is gone", DEADLINE, async || {
        let Ok(response) = client().get(&url).send().await else {
            return Ok(Some(()));
        };
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "connection"), "close");
        Ok(None)
    })
    .await
    .unwrap();
    assert!(signalled.elapsed() >= Duration::from_secs(2));
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(world.gateway.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_a_killed_gateway_leaves_nothing() {
    let mut world = world("").await;
    let mut impatient = world.another("").await;
    let slow = begin(impatient.url("/public/sleep/4"), "eventual");
    sleeping(&world.cluster.replicas[0], 1).await;
    impatient.signal(Signal::SIGTERM);
    impatient.wait_for_log("draining").await.unwrap();
    let second = Instant::now();
    impatient.signal(Signal::SIGTERM);
    assert_eq!(impatient.wait().await.unwrap().code(), Some(1));
    assert!(second.elapsed() < Duration::from_secs(2));
    assert!(slow.await.unwrap().is_err());

    world.gateway.signal(Signal::SIGKILL);
    assert_eq!(world.gateway.wait().await.unwrap().signal(), Some(9));
    assert!(TcpStream::connect(world.gateway.listen()).await.is_err());
    for server in [&world.cluster.primary, &world.cluster.replicas[0]] {
        let sessions = "application_name like 'tidegate/%'";
        let none = format!("not exists (select from pg_stat_activity where {sessions})");
        server.wait_until(&none).await.unwrap();
    }
}

#[tokio::test]
async fn slow_and_giant_requests_are_cut_off_and_others_are_served() {
    let world = world("[server]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\n").await;
    let mut slow_head = world.connect().await;
    slow_head.write_all(b"GET /health/li").await.unwrap();
    let mut slow_body = world.connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n";
    let half = format!("{head}content-length: 100\r\n\r\n{{\"text\":");
    slow_body.write_all(half.as_bytes()).await.unwrap();
    let mut broken = world.connect().await;
    broken.write_all(half.as_bytes()).await.unwrap();
    broken.shutdown().await.unwrap();
    let mut giant = world.connect().await;
    let field = "x".repeat(40 * 1024);
    let request = format!("GET /health/live HTTP/1.1\r\nhost: test\r\nx-giant: {field}\r\n\r\n");
    // The answer may come, and the connection go, before all of it is sent.
    let _refused = giant.write_all(request.as_bytes()).await;
    assert!(answer(&mut giant).await.starts_with("HTTP/1.1 431"));
    assert_eq!(
        world.get_at("/public/sleep/0", "eventual").await.status(),
        200
    );
    assert_eq!(answer(&mut slow_head).await, "");
    let told = answer(&mut slow_body).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(
        told.contains("content-type: application/problem+json"),
        "{told}"
    );
    let told = answer(&mut broken).await;
    assert!(
        told.is_empty() || told.starts_with("HTTP/1.1 400"),
        "{told}"
    );
    let series = "tidegate_connections_expired_total{listener=\"public\",reason=\"header\"}";
    world.metric_turns(series, |count| count >= 1.0).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_are_served() {
    const MAX: usize = 8;
    let world = world(&format!("[server]\nconnections_max = {MAX}\n")).await;
    let mut sockets = Vec::new();
    for _ in 0..MAX + 4 {
        let mut socket = world.connect().await;
        // It may be closed already.
        let _refused = socket.write_all(LIVE).await;
        if answer(&mut socket).await.starts_with("HTTP/1.1 200") {
            sockets.push(socket);
        }
    }
    // The client of the tests holds one or two.
    assert!(
        (MAX - 2..=MAX).contains(&sockets.len()),
        "{}",
        sockets.len()
    );
    for socket in &mut sockets {
        socket.write_all(LIVE).await.unwrap();
        assert!(answer(socket).await.starts_with("HTTP/1.1 200"));
    }
    let refused = "tidegate_connections_refused_total{listener=\"public\"}";
    world.metric_turns(refused, |count| count >= 4.0).await;
    drop(sockets);
    until("there is room again", DEADLINE, async || {
        let mut socket = world.connect().await;
        let _refused = socket.write_all(LIVE).await;
        Ok(answer(&mut socket)
            .await
            .starts_with("HTTP/1.1 200")
            .then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_request_over_its_deadline_is_told_so() {
    let mut world = world("[server]\nrequest_deadline = \"1s\"\n").await;
    let limit = Duration::from_millis(2_500);
    let start = Instant::now();
    problem(
        world.get_at("/public/sleep/5", "eventual").await,
        504,
        "deadline",
    )
    .await;
    assert!((Duration::from_secs(1)..limit).contains(&start.elapsed()));
    let start = Instant::now();
    let write = world
        .request(Method::POST, "/sleep/5")
        .send()
        .await
        .unwrap();
    problem(write, 502, "outcome-unknown").await;
    assert!((Duration::from_secs(1)..limit).contains(&start.elapsed()));
    assert_eq!(
        world.get_at("/public/sleep/0", "eventual").await.status(),
        200
    );

    // PostgreSQL's own limit ends a statement for certain, a write too.
    world.gateway = world
        .another("[pool]\nstatement_timeout = \"500ms\"\n")
        .await;
    problem(
        world.get_at("/public/sleep/5", "eventual").await,
        504,
        "deadline",
    )
    .await;
    let write = world
        .request(Method::POST, "/sleep/5")
        .send()
        .await
        .unwrap();
    problem(write, 504, "deadline").await;
}

#[tokio::test]
async fn a_saturated_pool_stalls_neither_monitor_nor_health() {
    let world = world("[pool]\nconnections_max = 4\n").await;
    let levels = ["eventual", "strong"].into_iter().cycle();
    let url = world.gateway.url("/public/sleep/4");
    let slow: Vec<_> = levels
        .take(8)
        .map(|level| begin(url.clone(), level))
        .collect();
    for server in [&world.cluster.primary, &world.cluster.replicas[0]] {
        sleeping(server, 4).await;
    }
    let start = Instant::now();
    let refused = world.get_at("/public/sleep/0", "strong").await;
    problem(refused, 503, "overloaded").await;
    assert!(start.elapsed() < Duration::from_secs(3));
    while !slow.iter().all(JoinHandle::is_finished) {
        let asked = Instant::now();
        assert_eq!(world.get("/health/edge").await.status(), 200);
        assert!(asked.elapsed() < Duration::from_secs(1));
        let staleness = "tidegate_staleness_seconds{node=\"eu-west-1\"}";
        world.metric_turns(staleness, |seconds| seconds < 2.0).await;
        sleep(Duration::from_millis(100)).await;
    }
    for response in join_all(slow).await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }
    assert_eq!(
        world.get_at("/public/sleep/0", "strong").await.status(),
        200
    );
}

#[tokio::test]
async fn a_client_that_goes_away_leaks_no_connection() {
    let world = world("[pool]\nconnections_max = 4\n").await;
    for _ in 0..3 {
        let url = world.gateway.url("/public/sleep/4");
        let slow: Vec<_> = (0..4).map(|_| begin(url.clone(), "eventual")).collect();
        sleeping(&world.cluster.replicas[0], 4).await;
        slow.iter().for_each(JoinHandle::abort);
        let start = Instant::now();
        let next = world.get_at("/public/sleep/0", "eventual").await;
        assert_eq!(next.status(), 200);
        // A busy machine makes any read slow enough for a second node to be asked.
        assert!(["fresh", "hedge"].contains(&told(&next, "reason")));
        assert!(start.elapsed() < Duration::from_secs(2));
        sleeping(&world.cluster.replicas[0], 0).await;
    }
    let labels = "endpoint=\"/public/sleep/{seconds}\",method=\"GET\",status=\"499\"";
    let gone = format!("tidegate_requests_total{{{labels}}}");
    let count = world.metric_turns(&gone, |count| count >= 12.0).await;
    assert!(count < 12.5);
    let line = world.gateway.wait_for_log("\"status\":499").await.unwrap();
    assert!(line.contains("tidegate::access"), "{line}");
    let gauge = |name: &str| format!("tidegate_pool_{name}{{node=\"eu-west-1\"}}");
    let open = world
        .metric_turns(&gauge("connections"), |open| (2.0..=4.0).contains(&open))
        .await;
    world
        .metric_turns(&gauge("idle"), |idle| (idle - open).abs() < 0.5)
        .await;
    world
        .metric_turns(&gauge("waiting"), |waiting| waiting < 0.5)
        .await;
}

/// Starts a gateway, with nothing behind it, under limits of open files.
async fn gateway_under(ulimits: &str) -> GatewayProcess {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("tidegate");
    let text = format!("#!/bin/sh\n{ulimits}\nexec {BINARY} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    let gateway = GatewayCommand::new(script, "serve")
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", "postgres://tidegate@127.0.0.1:1/postgres");
    gateway.start().await.unwrap()
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_a_low_one_is_told() {
    let gateway = gateway_under("ulimit -Sn 300; ulimit -Hn 2000").await;
    let page = client().get(gateway.admin_url("/metrics")).send().await;
    let page = page.unwrap().text().await.unwrap();
    assert!(page.contains("\nprocess_max_fds 2000\n"), "{page}");
    let warning = gateway.wait_for_log("too low for connections_max").await;
    assert!(warning.unwrap().contains("\"limit\":2000"));
}
