//! A cluster with the built-in schema and gateways in front of it, for the tests.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, PostgresServer, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for a machine that compiles at the same time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The HS256 secret of every gateway in the tests.
pub(crate) const JWT_SECRET: &str = "a-secret-for-tests-that-is-long-enough";
/// The token key of every gateway in the tests.
pub(crate) const TOKEN_SECRET: &str = "a-token-secret-for-tests";

/// The binary under test; `make drill` sets the release build.
pub(crate) const BINARY: &str = match option_env!("TIDEGATE_BINARY") {
    Some(binary) => binary,
    None => env!("CARGO_BIN_EXE_tidegate"),
};

/// A primary in us-east-1, a replica in eu-west-1, and a gateway in eu-west-1.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: GatewayProcess,
    pub(crate) client: Client,
}

impl World {
    /// Starts everything on the built-in schema with demo data, and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::configured("").await
    }

    /// Like [`World::start`], with a configuration file for the gateway.
    pub(crate) async fn configured(toml: &str) -> Self {
        let cluster = migrated_cluster(1).await;
        let gateway = configured(&cluster, gateway_of(&cluster), toml);
        Self::over(cluster, gateway).await
    }

    /// Starts everything with the test's own schema and configuration file.
    pub(crate) async fn with_file(schema: &str, file: &str) -> Self {
        let cluster = Cluster::start(1).await.unwrap();
        cluster.primary.execute(schema).await.unwrap();
        cluster.wait_for_replicas().await.unwrap();
        let gateway = configured(&cluster, gateway_of(&cluster), file);
        Self::over(cluster, gateway).await
    }

    /// Starts a gateway with a configuration file before an empty primary, and no replica.
    pub(crate) async fn alone(toml: &str) -> Self {
        let cluster = Cluster::start(0).await.unwrap();
        let gateway = configured(&cluster, gateway_of(&cluster), toml);
        Self::over(cluster, gateway).await
    }

    /// Starts a gateway before a cluster, and waits until it is ready.
    pub(crate) async fn over(cluster: Cluster, gateway: GatewayCommand) -> Self {
        let world = Self {
            cluster,
            gateway: gateway.start().await.unwrap(),
            client: client(),
        };
        world.ready().await;
        world
    }

    /// The only replica.
    pub(crate) fn replica(&mut self) -> &mut PostgresServer {
        &mut self.cluster.replicas[0]
    }

    /// Commits something on the primary, bypassing the gateway.
    pub(crate) async fn write(&self) {
        let sql = "update documents set updated_at = now()";
        self.cluster.primary.execute(sql).await.unwrap();
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&self) {
        wait_ready(&self.client, &self.gateway).await;
    }

    /// Begins a request to the gateway.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.gateway.url(path))
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Sends a GET that states a level.
    pub(crate) async fn get_at(&self, path: &str, level: &str) -> Response {
        let request = self
            .request(Method::GET, path)
            .header("X-Consistency", level);
        request.send().await.unwrap()
    }

    /// Sends a POST as an account, with an idempotency key.
    pub(crate) async fn post(
        &self,
        account: &str,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Response {
        let request = self
            .request(Method::POST, path)
            .bearer_auth(jwt(account).await);
        request
            .header("Idempotency-Key", key)
            .json(body)
            .send()
            .await
            .unwrap()
    }

    /// Sends a GET as an account.
    pub(crate) async fn get_as(&self, account: &str, path: &str) -> Response {
        self.request(Method::GET, path)
            .bearer_auth(jwt(account).await)
            .send()
            .await
            .unwrap()
    }

    /// Sends a GET with a header.
    pub(crate) async fn get_with(&self, path: &str, name: &str, value: &str) -> Response {
        let request = self.request(Method::GET, path).header(name, value);
        request.send().await.unwrap()
    }

    /// Sends a body that is declared as JSON.
    pub(crate) async fn post_json(&self, path: &str, body: impl Into<String>) -> Response {
        let request = self
            .request(Method::POST, path)
            .header("Content-Type", "application/json");
        request.body(body.into()).send().await.unwrap()
    }

    /// Sends raw bytes on a separate connection, and reads the one answer to them.
    pub(crate) async fn send_raw(&self, request: &[u8]) -> RawResponse {
        let mut stream = TcpStream::connect(self.gateway.listen()).await.unwrap();
        // The gateway may answer and close before it has read everything.
        let _refused = stream.write_all(request).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _reset = timeout(DEADLINE, read).await.unwrap();
        RawResponse::parse(&answer)
    }

    /// Sends a GET for a path without changes: HTTP clients would normalise it.
    pub(crate) async fn get_raw(&self, path: &str, headers: &str) -> RawResponse {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{headers}\r\n");
        self.send_raw(request.as_bytes()).await
    }

    /// Drains or undrains a node (`drain`, `undrain`).
    pub(crate) async fn steer(&self, node: &str, what: &str) -> Response {
        let url = self
            .gateway
            .admin_url(&format!("/admin/nodes/{node}/{what}"));
        self.client.post(url).send().await.unwrap()
    }

    /// Keeps reads on the replica however long it takes: the primary is used only if no other node
    /// is left.
    pub(crate) async fn without_hedges(&self) {
        assert_eq!(self.steer("primary", "drain").await.status(), 200);
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        let page = self.client.get(self.gateway.admin_url("/metrics"));
        page.send().await.unwrap().text().await.unwrap()
    }

    /// Waits until a series, written as `name{labels}`, has a value that satisfies the condition.
    pub(crate) async fn metric_turns(&self, series: &str, holds: impl Fn(f64) -> bool) -> f64 {
        until(series, DEADLINE, async || {
            let page = self.metrics().await;
            let value = page.lines().find_map(|line| line.strip_prefix(series));
            let value: f64 = value.context("no such series")?.trim().parse()?;
            Ok(holds(value).then_some(value))
        })
        .await
        .unwrap()
    }

    /// Waits until the statements of a node's reads were proven to leave nothing in their session.
    pub(crate) async fn proven(&self, node: &str) {
        let series = format!("tidegate_statements{{node=\"{node}\",session=\"kept\"}}");
        self.metric_turns(&series, |kept| kept > 0.0).await;
    }

    /// Waits until `/health/edge` answers with a status.
    pub(crate) async fn health_turns(&self, status: u16) -> Value {
        let wanted = async || {
            let response = self
                .client
                .get(self.gateway.url("/health/edge"))
                .send()
                .await?;
            let answered = response.status().as_u16();
            let body: Value = response.json().await?;
            Ok((answered == status).then_some(body))
        };
        until(&format!("/health/edge turns {status}"), DEADLINE, wanted)
            .await
            .unwrap()
    }
}

/// An answer read from a plain socket.
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl RawResponse {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Whether it is a problem of a type.
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> bool {
        self.status == status
            && self.head.contains("cache-control: no-store, private")
            && self.body.contains(&format!("/problems/{kind}\""))
    }
}

/// The cells of a table in text form: one row per line, `|` between cells.
pub(crate) fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
    let lines = table.lines().filter(|line| !line.is_empty());
    lines.map(|line| {
        let cells: Vec<_> = line.splitn(N, '|').map(str::trim).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{line}"))
    })
}

/// A cluster with the schema and the demo data, replicated.
pub(crate) async fn migrated_cluster(replicas: usize) -> Cluster {
    let cluster = Cluster::start(replicas).await.unwrap();
    migrate(&cluster).await;
    cluster.wait_for_replicas().await.unwrap();
    cluster
}

/// Runs `tidegate migrate --demo-data`.
pub(crate) async fn migrate(cluster: &Cluster) {
    let command = GatewayCommand::new(BINARY, "migrate").arg("--demo-data");
    printed(command.env("DATABASE_URL", cluster.primary.url())).await;
}

/// Runs a command that must succeed without complaints, and returns its output.
pub(crate) async fn printed(command: GatewayCommand) -> String {
    printed_within(command, 2 * DEADLINE).await
}

/// The same of a command that may take longer.
pub(crate) async fn printed_within(command: GatewayCommand, deadline: Duration) -> String {
    let output = command.output_within(deadline).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert_eq!(told, "");
    String::from_utf8(output.stdout).unwrap()
}

/// A gateway in eu-west-1 whose local replica is the cluster's first, if it has one.
pub(crate) fn gateway_of(cluster: &Cluster) -> GatewayCommand {
    gateway_from(Path::new(BINARY), cluster)
}

/// The same from another binary.
pub(crate) fn gateway_from(binary: &Path, cluster: &Cluster) -> GatewayCommand {
    let command = GatewayCommand::new(binary, "serve")
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", cluster.primary.url())
        .env("AUTH_JWT_SECRET", JWT_SECRET)
        .env("TOKEN_SECRET", TOKEN_SECRET);
    match cluster.replicas.first() {
        Some(replica) => command.env("DATABASE_READ_REPLICA_URL", replica.url()),
        None => command,
    }
}

/// Gives a gateway a configuration file, which is removed with the cluster.
pub(crate) fn configured(cluster: &Cluster, gateway: GatewayCommand, toml: &str) -> GatewayCommand {
    let name = format!("gateway-{:08x}.toml", RandomState::new().hash_one(0) >> 32);
    let file = cluster.workspace().path().join(name);
    std::fs::write(&file, toml).unwrap();
    gateway.env("TIDEGATE_CONFIG", file)
}

/// Replaces a gateway's configuration file, and waits until the new one is in force.
pub(crate) async fn reload(gateway: &GatewayProcess, file: &Path, toml: &str) {
    std::fs::write(file, toml).unwrap();
    gateway.signal(Signal::SIGHUP);
    let swapped = "policies and endpoints were swapped";
    gateway.wait_for_log(swapped).await.unwrap();
}

/// Waits until a gateway is ready.
pub(crate) async fn wait_ready(client: &Client, gateway: &GatewayProcess) {
    let ready = async || {
        let response = client.get(gateway.admin_url("/readyz")).send().await?;
        Ok(response.status().is_success().then_some(()))
    };
    until("the gateway is ready", DEADLINE, ready)
        .await
        .unwrap();
}

/// A client that gives up before the test runner does.
pub(crate) fn client() -> Client {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(DEADLINE).build().unwrap()
}

/// A JWT for an account, minted by the binary.
pub(crate) async fn jwt(account: &str) -> String {
    let command = GatewayCommand::new(BINARY, "token")
        .arg("--sub")
        .arg(account);
    let printed = printed(command.env("AUTH_JWT_SECRET", JWT_SECRET)).await;
    printed.trim().to_owned()
}

/// A response's header as text, empty when it is absent.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A parameter of a response's `Consistency-Status`, empty when it is absent.
pub(crate) fn told<'a>(response: &'a Response, parameter: &str) -> &'a str {
    let status = header(response, "consistency-status");
    let first = status.split(", ").next().unwrap_or_default();
    let mut parameters = first
        .split("; ")
        .filter_map(|parameter| parameter.split_once('='));
    parameters
        .find(|(name, _)| *name == parameter)
        .map_or("", |(_, value)| value)
}

/// Asserts that a response is a problem of a type, and returns its detail.
pub(crate) async fn problem(response: Response, status: u16, kind: &str) -> String {
    assert_eq!(
        header(&response, "content-type"),
        "application/problem+json"
    );
    assert_eq!(header(&response, "cache-control"), "no-store, private");
    let id = header(&response, "x-request-id").to_owned();
    let answered = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (answered, &body["status"]),
        (status, &Value::from(status)),
        "{body}"
    );
    assert_eq!(
        body["type"],
        format!("https://tidegate.dev/problems/{kind}"),
        "{body}"
    );
    assert_eq!(body["request_id"], id);
    body["detail"].as_str().unwrap().to_owned()
}

/// A program of `target/tools`, unless it cannot be had here.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Some(root.join("target/tools/bin").join(name)).filter(|program| program.exists())
}
