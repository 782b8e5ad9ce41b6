//! Two regions, a replica and a gateway in each, and a line that can fail on every way of a gateway
//! to a server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Client;
use tempfile::TempDir;
use tidegate::demo::{Cluster, DelayProxy, GatewayCommand, GatewayProcess, PostgresServer, until};

use super::registers::{SCHEMA, Statements, endpoints};
use crate::world::{BINARY, TOKEN_SECRET};

const REGIONS: [&str; 2] = ["eu-west-1", "ap-southeast-1"];
pub(super) const GATEWAYS: usize = REGIONS.len();
/// A gateway's lines: to the primary, then to each replica.
pub(super) const LINES: usize = 1 + REGIONS.len();
/// A restarted primary may take a while on a machine that compiles at the same time.
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);

/// Short limits, so that a fault of a second is felt and a client is soon free again.
const LIMITS: &str = r#"
[server]
request_deadline = "2s"
[pool]
connections_max = 8
acquire_timeout = "500ms"
connect_timeout = "1s"
statement_timeout = "1500ms"
[replication]
sample_interval = "100ms"
sample_timeout = "500ms"
max_lag = "2s"
"#;

/// Everything a run needs; dropping it ends it.
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    pub(super) posts: Vec<Post>,
    pub(super) addresses: Addresses,
    http: Client,
    _configurations: TempDir,
}

/// One region's gateway and its lines.
pub(super) struct Post {
    region: usize,
    file: PathBuf,
    gateway: GatewayProcess,
    pub(super) lines: Vec<DelayProxy>,
}

/// Where the gateways are now; one that was killed comes back elsewhere.
#[derive(Clone)]
pub(super) struct Addresses(Arc<RwLock<Vec<String>>>);

impl Arena {
    pub(super) async fn start(statements: Statements) -> Self {
        let cluster = Cluster::start(GATEWAYS).await.unwrap();
        cluster.primary.execute(SCHEMA).await.unwrap();
        cluster.wait_for_replicas().await.unwrap();
        let configurations = tempfile::tempdir().unwrap();
        let mut posts = Vec::new();
        for region in 0..GATEWAYS {
            let file = configurations.path().join(format!("{region}.toml"));
            posts.push(Post::start(&cluster, region, file, statements).await);
        }
        let urls = posts.iter().map(Post::url).collect();
        let arena = Self {
            cluster,
            posts,
            addresses: Addresses(Arc::new(RwLock::new(urls))),
            http: crate::world::client(),
            _configurations: configurations,
        };
        arena.wait_until_healthy().await;
        arena
    }

    /// Waits until every gateway finds everything in order again, which needs no restart of it.
    pub(super) async fn wait_until_healthy(&self) {
        for post in &self.posts {
            let url = post.gateway.url("/health/edge");
            let healthy = async || {
                let response = self.http.get(&url).send().await?;
                Ok(response.status().is_success().then_some(()))
            };
            let waited = until("the gateway is healthy", HEALTHY_DEADLINE, healthy).await;
            waited.unwrap_or_else(|error| panic!("{error:#}\n{}", post.gateway.log()));
        }
    }

    /// Kills a gateway as `kill -9` does.
    pub(super) async fn kill_gateway(&mut self, index: usize) {
        let gateway = &mut self.posts[index].gateway;
        gateway.signal(Signal::SIGKILL);
        gateway.wait().await.unwrap();
    }

    /// Starts a gateway that was killed.
    pub(super) async fn revive_gateway(&mut self, index: usize) {
        let post = &mut self.posts[index];
        post.gateway = command(post.region, &post.file).start().await.unwrap();
        self.addresses.set(index, post.url());
    }
}

impl Post {
    async fn start(
        cluster: &Cluster,
        region: usize,
        file: PathBuf,
        statements: Statements,
    ) -> Self {
        let mut lines = Vec::new();
        for server in [&cluster.primary].into_iter().chain(&cluster.replicas) {
            lines.push(DelayProxy::start(server.address()).await.unwrap());
        }
        let text = configuration(cluster, region, &lines, statements);
        std::fs::write(&file, text).unwrap();
        let gateway = command(region, &file).start().await.unwrap();
        Self {
            region,
            file,
            gateway,
            lines,
        }
    }

    fn url(&self) -> String {
        self.gateway.url("")
    }
}

impl Addresses {
    pub(super) fn of(&self, gateway: usize) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[gateway].clone()
    }

    fn set(&self, gateway: usize, url: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[gateway] = url;
    }
}

fn command(region: usize, file: &Path) -> GatewayCommand {
    GatewayCommand::new(BINARY, "serve")
        .env("REGION", REGIONS[region])
        .env("TIDEGATE_CONFIG", file)
        .env("TOKEN_SECRET", TOKEN_SECRET)
        .env(
            "RUST_LOG",
            "warn,tidegate::gateway=info,tidegate::server=info,tidegate::cli=info",
        )
}

/// The topology as one region sees it: its own replica first. The second region's role is one that
/// may not see the state of a WAL receiver.
fn configuration(
    cluster: &Cluster,
    region: usize,
    lines: &[DelayProxy],
    statements: Statements,
) -> String {
    let url = |server: &PostgresServer, line: &DelayProxy| match region {
        0 => server.url_at(line.address()),
        _ => format!("postgres://plain:x@{}/postgres", line.address()),
    };
    let primary = url(&cluster.primary, &lines[0]);
    let mut text = format!("database_url = \"{primary}\"\n{LIMITS}");
    for index in [region, 1 - region] {
        let url = url(&cluster.replicas[index], &lines[1 + index]);
        let name = REGIONS[index];
        text += &format!("[[topology.replica]]\nregion = \"{name}\"\nurl = \"{url}\"\n");
    }
    text + &endpoints(statements)
}
