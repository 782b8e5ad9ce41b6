//! One region's gateway, and its links to the servers.

use std::path::{Path, PathBuf};

use tidegate::testkit::{Cluster, DelayProxy, GatewayCommand, GatewayProcess, PostgresServer};

use super::registers::{Statements, endpoints};
use super::wall_clock::WallClock;
use crate::world::{BINARY, TOKEN_SECRET};

pub(super) const REGIONS: [&str; 2] = ["eu-west-1", "ap-southeast-1"];

/// Short limits, so that a fault of a second has an effect and a client is soon free again.
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

pub(super) struct Post {
    pub(super) region: usize,
    pub(super) gateway: GatewayProcess,
    /// To the primary, then to each replica.
    pub(super) lines: Vec<DelayProxy>,
    file: PathBuf,
    clock: Option<WallClock>,
}

impl Post {
    pub(super) async fn start(
        cluster: &Cluster,
        region: usize,
        file: PathBuf,
        clock: Option<WallClock>,
        statements: Statements,
    ) -> Self {
        let mut lines = Vec::new();
        for server in [&cluster.primary].into_iter().chain(&cluster.replicas) {
            lines.push(DelayProxy::start(server.address()).await.unwrap());
        }
        let text = configuration(cluster, region, &lines, statements);
        std::fs::write(&file, text).unwrap();
        let gateway = command(region, &file, clock.as_ref());
        Self {
            region,
            gateway: gateway.start().await.unwrap(),
            lines,
            file,
            clock,
        }
    }

    /// Starts a gateway that was killed.
    pub(super) async fn restart(&mut self) {
        let gateway = command(self.region, &self.file, self.clock.as_ref());
        self.gateway = gateway.start().await.unwrap();
    }

    /// Lets `DATABASE_URL` lead to the primary, as a changed DNS record does.
    pub(super) fn lead_to_primary(&self, cluster: &Cluster) {
        self.lines[0].set_target(cluster.primary.address());
    }

    /// Lets the URLs of the topology lead to the replicas.
    pub(super) fn lead_to_replicas(&self, cluster: &Cluster) {
        for (line, replica) in self.lines[1..].iter().zip(&cluster.replicas) {
            line.set_target(replica.address());
        }
    }

    pub(super) fn cut_replicas(&self, on: bool) {
        for line in &self.lines[1..] {
            line.cut(on);
        }
    }
}

fn command(region: usize, file: &Path, clock: Option<&WallClock>) -> GatewayCommand {
    let mut command = GatewayCommand::new(BINARY, "serve")
        .env("REGION", REGIONS[region])
        .env("TIDEGATE_CONFIG", file)
        .env("TOKEN_SECRET", TOKEN_SECRET)
        .env(
            "RUST_LOG",
            "warn,tidegate::gateway=info,tidegate::server=info,tidegate::gateway::cli=info",
        );
    for (name, value) in clock.map(WallClock::variables).into_iter().flatten() {
        command = command.env(name, value);
    }
    command
}

/// The topology of one region: its own replica first. The second region's role is one that
/// may neither see the state of a WAL receiver nor read files.
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
