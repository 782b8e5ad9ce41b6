//! Two gateways that know each other, and an application behind both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use serde_json::Value;
use tempfile::TempDir;
use tidegate::testkit::until;
use tokio::task::JoinHandle;

use crate::load::client;
use crate::process::{Server, command, file, free_address, open_directory, output};
use crate::scene::BINARY;

/// Requests enter in the first region and are served in the second one.
pub(super) const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

const POLICY: &str = "\
region eu-west-1
region us-east-1
policy away {
  prefer us-east-1 | local
  retry idempotent 1 budget 20%
}
";

const SERVER: &str = "[server]\ndrain_delay = \"0s\"\n";

const ENDPOINTS: &str = r#"
[[policy]]
path = "/cached/*"
consistency = "eventual"
cache_control = "public, max-age=3600"
[[endpoint]]
method = "GET"
path = "/cached/{*rest}"
upstream = "${APP}"
cache = true
[[endpoint]]
method = "*"
path = "/app/{*rest}"
upstream = "${APP}"
"#;

/// The two.
pub(super) struct Pair {
    pub(super) gateways: [Server; 2],
    admins: [SocketAddr; 2],
    pub(super) fleet: [SocketAddr; 2],
    directory: TempDir,
    _app: JoinHandle<()>,
}

impl Pair {
    /// Starts both in front of an application, with more in their configurations: keys of `[server]`, then
    /// sections.
    pub(super) async fn start(more: [&str; 2], app: Router) -> Result<Self> {
        let directory = open_directory()?;
        let out = directory.path().to_str().context("a path is text")?;
        let mut certificates = command(BINARY, None);
        certificates.args(["fleet", "certificates", "--regions"]);
        certificates.args([&REGIONS.join(","), "--out", out]);
        output(certificates).await?;
        let policy = file(&directory, "traffic.policy", POLICY)?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let app_url = format!("http://{}", listener.local_addr()?);
        let app = tokio::spawn(async move {
            let _until_aborted = axum::serve(listener, app).await;
        });
        let fleet = [free_address()?, free_address()?];
        let admins = [free_address()?, free_address()?];
        let mut gateways = Vec::new();
        for at in 0..2 {
            let other = 1 - at;
            let head = match at {
                0 => format!("traffic_policy = \"{}\"\n", policy.display()),
                _ => String::new(),
            };
            let peers = format!(
                "[fleet]\npeers = [{{ region = \"{}\", address = \"{}\" }}]\n",
                REGIONS[other], fleet[other]
            );
            let endpoints = ENDPOINTS.replace("${APP}", &app_url);
            let text = format!("{head}{peers}{SERVER}{}{endpoints}", more[at]);
            let name = format!("{}.toml", REGIONS[at]);
            let configuration = file(&directory, &name, &text)?;
            let listen = free_address()?;
            let credential = |end: &str| directory.path().join(format!("{}.{end}", REGIONS[at]));
            let mut gateway = command(BINARY, None);
            gateway
                .arg("serve")
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("REGION", REGIONS[at])
                .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
                .env("TOKEN_SECRET", "a-token-secret-for-measuring")
                .env("LISTEN_ADDR", listen.to_string())
                .env("ADMIN_ADDR", admins[at].to_string())
                .env("TIDEGATE_CONFIG", configuration)
                .env("FLEET_ADDR", fleet[at].to_string())
                .env("FLEET_CERT", credential("crt"))
                .env("FLEET_KEY", credential("key"))
                .env("FLEET_CA", directory.path().join("ca.crt"))
                .env("RUST_LOG", "error")
                .stderr(std::process::Stdio::null());
            gateways.push(Server::start(gateway, listen).await?);
        }
        let gateways = gateways.try_into().ok().context("there are two")?;
        let pair = Self {
            gateways,
            admins,
            fleet,
            directory,
            _app: app,
        };
        pair.until_served_in(REGIONS[1]).await?;
        Ok(pair)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until what enters in the first region is served in another.
    pub(super) async fn until_served_in(&self, region: &str) -> Result<()> {
        let (client, url) = (client()?, self.gateways[0].url("/app/x"));
        let served = async || {
            let answer = client.get(&url).send().await?;
            let status = answer.headers().get("consistency-status");
            let status = status.context("no status")?.to_str()?;
            ensure!(status.starts_with(region), "{status}");
            Ok(Some(()))
        };
        until("requests are handed on", Duration::from_secs(30), served).await
    }

    /// Drains the second region or ends its drain.
    pub(super) async fn drain(&self, on: bool) -> Result<Value> {
        let what = if on {
            "drain?for=1h&force=true"
        } else {
            "undrain"
        };
        let url = format!(
            "http://{}/admin/regions/{}/{what}",
            self.admins[1], REGIONS[1]
        );
        let answer = client()?.post(url).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    }

    pub(super) fn pids(&self) -> Result<[u32; 2]> {
        let pid = |at: usize| self.gateways[at].pid().context("a gateway has ended");
        Ok([pid(0)?, pid(1)?])
    }
}
