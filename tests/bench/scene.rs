//! A primary, a replica, and gateways in front of them.

use std::fmt::Write as _;

use anyhow::Result;
use tidegate::testkit::Cluster;
use tokio::process::Command;

use super::process::{Server, command, file, free_address, open_directory};

/// The gateway: the one that was built with this program, unless another was named when it was.
pub(crate) const BINARY: &str = match option_env!("TIDEGATE_BINARY") {
    Some(binary) => binary,
    None => env!("CARGO_BIN_EXE_tidegate"),
};

/// Rows that reads by primary key choose from.
pub(crate) const ACCOUNTS: u32 = 100_000;

/// Bytes of the JSON for the comparison of caches.
pub(crate) const BODY_BYTES: usize = 1_024;

const SCHEMA: &str = "
create table accounts (aid int primary key, bid int, abalance int, filler char(84));
insert into accounts select id, 1, 0, '' from generate_series(1, 100000) id;
create table marks (id bigint generated always as identity primary key, text text not null);
vacuum analyze accounts;
";

/// The endpoints that are measured. The rows without `cache_control` are never cached.
const ENDPOINTS: &str = r#"
[[policy]]
path = "/cached/*"
consistency = "eventual"
cache_control = "public, max-age=3600"
[[policy]]
path = "/accounts/*"
consistency = "eventual"
[[policy]]
path = "/slow"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/cached/{id}"
sql = "select repeat('x', 1011) as filler"
single = true
[[endpoint]]
method = "GET"
path = "/accounts/{aid}"
sql = "select aid, bid, abalance from accounts where aid = :path.aid"
single = true
[[endpoint]]
method = "POST"
path = "/marks"
sql = "insert into marks (text) values (:body.text) returning id"
single = true
[[endpoint]]
method = "GET"
path = "/slow"
sql = "select pg_sleep(0.2)::text as slept"
"#;

/// The statement of `/accounts/{aid}` as the gateway prepares it.
pub(crate) const READ: &str = "with tidegate as materialized \
    (select aid, bid, abalance from accounts where aid = :aid\n) \
    select row_to_json(tidegate)::text from tidegate limit 1";

/// The databases; gateways are started and stopped as needed.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) directory: tempfile::TempDir,
}

/// How a gateway is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// The core it runs on; all of them if none is given.
    pub(crate) core: Option<usize>,
    /// Whether it writes access lines.
    pub(crate) access_lines: bool,
    /// More sections for its file.
    pub(crate) sections: String,
    /// Policy rows and endpoints in addition to those that are measured.
    pub(crate) more_rows: usize,
    /// Another address of the primary.
    pub(crate) database_url: Option<String>,
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) admin: String,
}

impl Scene {
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::start(1).await?;
        for statement in SCHEMA.split_inclusive(';') {
            cluster.primary.execute(statement).await?;
        }
        cluster.wait_for_replicas().await?;
        Ok(Self {
            cluster,
            directory: open_directory()?,
        })
    }

    /// Starts a gateway next to the replica and waits until it is ready.
    pub(crate) async fn gateway(&self, setting: &Setting) -> Result<Gateway> {
        let (command, listen, admin) = self.command(setting)?;
        let server = Server::start(command, listen).await?;
        let gateway = Gateway {
            server,
            admin: format!("http://{admin}"),
        };
        gateway.ready().await?;
        Ok(gateway)
    }

    /// The command of a gateway, its public and its admin address.
    pub(crate) fn command(
        &self,
        setting: &Setting,
    ) -> Result<(Command, std::net::SocketAddr, std::net::SocketAddr)> {
        let (listen, admin) = (free_address()?, free_address()?);
        let name = format!("gateway-{}.toml", listen.port());
        let file = file(&self.directory, &name, &configuration(setting))?;
        let mut command = command(BINARY, setting.core);
        let primary = &self.cluster.primary;
        let database = setting
            .database_url
            .clone()
            .unwrap_or_else(|| primary.url());
        command
            .arg("serve")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", database)
            .env("DATABASE_READ_REPLICA_URL", self.cluster.replicas[0].url())
            .env("TOKEN_SECRET", "a-token-secret-for-measuring")
            .env("LISTEN_ADDR", listen.to_string())
            .env("ADMIN_ADDR", admin.to_string())
            .env("TIDEGATE_CONFIG", file)
            .env("LOG_FORMAT", "json")
            .env(
                "RUST_LOG",
                if setting.access_lines { "info" } else { "warn" },
            )
            .stderr(std::process::Stdio::null());
        Ok((command, listen, admin))
    }
}

impl Gateway {
    pub(crate) fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    async fn ready(&self) -> Result<()> {
        let client = super::load::client()?;
        let (readiness, health) = (format!("{}/readyz", self.admin), self.url("/health/edge"));
        let ready = async || {
            for url in [&readiness, &health] {
                client.get(url).send().await?.error_for_status()?;
            }
            Ok(Some(()))
        };
        tidegate::testkit::until(
            "the gateway is ready",
            std::time::Duration::from_secs(30),
            ready,
        )
        .await
    }
}

fn configuration(setting: &Setting) -> String {
    // Only this program uses these gateways, so there is no need to announce their end.
    let at_once = "[server]\ndrain_delay = \"0s\"\n";
    let mut text = format!("{at_once}{}\n{ENDPOINTS}", setting.sections);
    for number in 0..setting.more_rows {
        let _infallible = write!(
            text,
            "[[policy]]\npath = \"/more/{number}/*\"\nconsistency = \"eventual\"\n\
             [[endpoint]]\nmethod = \"GET\"\npath = \"/more/{number}/{{id}}\"\n\
             sql = \"select {number} as one, :path.id as id\"\n"
        );
    }
    text
}
