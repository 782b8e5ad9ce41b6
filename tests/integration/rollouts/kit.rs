//! A primary in us-east-1, a replica in eu-west-1, a gateway in either, and an application in both.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, until};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::upstream::kit::{App, endpoint, upstream};
use crate::world::{BINARY, DEADLINE, client, configured, gateway_of, header, wait_ready};

pub(crate) const EU: &str = "eu-west-1";
pub(crate) const US: &str = "us-east-1";

/// Keeps everything in the region where it enters.
pub(crate) const LOCAL: &str = "\
region eu-west-1
region us-east-1

policy everything {
  prefer  local
}
";

/// Sends everything to us-east-1.
pub(crate) const TO_US: &str = "\
region eu-west-1
region us-east-1

policy everything {
  prefer  us-east-1 | eu-west-1
}
";

/// As [`LOCAL`] and [`TO_US`], with a key for each client.
pub(crate) fn by_client(policy: &str) -> String {
    policy.replace("}\n", "  affinity  header x-client\n}\n")
}

/// How a command has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) told: String,
}

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) gateways: Vec<GatewayProcess>,
    pub(crate) apps: [App; 2],
    pub(crate) folder: TempDir,
}

impl Scene {
    /// Starts everything; `more` is added to the configuration of both gateways.
    pub(crate) async fn start(more: &str) -> Self {
        let mut scene = Self::prepared(1).await;
        scene.start_gateways(more).await;
        scene
    }

    pub(crate) async fn before(apps: [App; 2], more: &str) -> Self {
        let mut scene = Self::over(1, apps).await;
        scene.start_gateways(more).await;
        scene
    }

    /// A store with replicas and no gateways yet.
    pub(crate) async fn prepared(replicas: usize) -> Self {
        let near = App::answering(200, "near").await;
        let far = App::answering(200, "far").await;
        Self::over(replicas, [near, far]).await
    }

    async fn over(replicas: usize, apps: [App; 2]) -> Self {
        let cluster = Cluster::start(replicas).await.unwrap();
        let scene = Self {
            cluster,
            gateways: Vec::new(),
            apps,
            folder: TempDir::new().unwrap(),
        };
        let migrated = GatewayCommand::new(BINARY, "migrate")
            .arg("--only")
            .arg("traffic");
        let ended = scene.run(migrated).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        scene.cluster.wait_for_replicas().await.unwrap();
        scene
    }

    async fn start_gateways(&mut self, more: &str) {
        for region in [EU, US] {
            self.start_gateway(self.command(region, more)).await;
        }
    }

    pub(crate) async fn start_gateway(&mut self, command: GatewayCommand) {
        let gateway = command.start().await.unwrap();
        wait_ready(&client(), &gateway).await;
        self.gateways.push(gateway);
    }

    /// How a gateway is started.
    pub(crate) fn command(&self, region: &str, more: &str) -> GatewayCommand {
        let nodes = [(EU, &*self.apps[0].url()), (US, &*self.apps[1].url())];
        let toml = format!(
            "{more}\n{}{}",
            upstream(&nodes, ""),
            endpoint("*", "/app/{*rest}", "app")
        );
        let command = match region {
            EU => gateway_of(&self.cluster),
            _ => GatewayCommand::new(BINARY, "serve")
                .env("DATABASE_URL", self.cluster.primary.url())
                .env("AUTH_JWT_SECRET", crate::world::JWT_SECRET)
                .env("TOKEN_SECRET", crate::world::TOKEN_SECRET),
        };
        configured(&self.cluster, command, &toml).env("REGION", region)
    }

    pub(crate) async fn run(&self, command: GatewayCommand) -> Ended {
        let command = command.env("DATABASE_URL", self.cluster.primary.url());
        ended(command.env("USER", "ada")).await
    }

    /// The command `tidegate policy`.
    pub(crate) fn policy_command(&self, arguments: &[&str]) -> GatewayCommand {
        let command = GatewayCommand::new(BINARY, "policy");
        let command = arguments.iter().fold(command, |all, it| all.arg(it));
        command
            .env("DATABASE_URL", self.cluster.primary.url())
            .env("USER", "ada")
    }

    /// Runs `tidegate policy`.
    pub(crate) async fn policy(&self, arguments: &[&str]) -> Ended {
        ended(self.policy_command(arguments)).await
    }

    /// Runs `tidegate policy`, which must succeed; returns the last line.
    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let ended = self.policy(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out.lines().last().unwrap_or_default().to_owned()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let file: PathBuf = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Stores a text; returns its number.
    pub(crate) async fn push(&self, text: &str) -> String {
        let file = self.file("traffic.policy", text);
        self.done(&["push", &file]).await
    }

    /// Puts a revision in force without stages, as only who owns the database can.
    pub(crate) async fn put_in_force(&self, revision: &str) {
        self.roll_out_by_hand(revision).await;
        self.until_revision(revision, DEADLINE).await;
    }

    pub(crate) async fn roll_out_by_hand(&self, revision: &str) {
        let sql = format!(
            "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, outcome, ended_at) \
             select 'rollout', {revision}, coalesce((select revision from tidegate.traffic_rollout \
                 where outcome = 'done' order by rollout desc limit 1), 0), '{{}}', '', 'ada', 'done', now()"
        );
        self.cluster.primary.execute(&sql).await.unwrap();
    }

    /// Waits until both gateways decide by a revision.
    pub(crate) async fn until_revision(&self, revision: &str, within: Duration) {
        for gateway in &self.gateways {
            self.follows(gateway, revision, within).await;
        }
    }

    /// Waits until a gateway decides by a revision.
    pub(crate) async fn follows(&self, gateway: &GatewayProcess, revision: &str, within: Duration) {
        let what = format!("revision {revision} is in force");
        let followed = until(&what, within, async || {
            Ok((in_force(gateway).await == revision).then_some(()))
        });
        if let Err(error) = followed.await {
            panic!("{error:#}\n{}", gateway.log());
        }
    }

    /// Stores [`LOCAL`] and [`TO_US`], each with a key for each client, and puts the first in force.
    pub(crate) async fn two_revisions(&self) {
        self.push(&by_client(LOCAL)).await;
        self.push(&by_client(TO_US)).await;
        self.put_in_force("1").await;
    }

    /// The application that serves a request through a gateway.
    pub(crate) async fn served_by(&self, gateway: usize, path: &str) -> String {
        let url = self.gateways[gateway].url(path);
        let answer = client().get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }

    pub(crate) async fn status(&self) -> Value {
        let ended = self.policy(&["status", "--json"]).await;
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))
    }

    /// Waits until the rows of all living gateways satisfy a condition.
    pub(crate) async fn until_reported(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        until(what, DEADLINE, async || {
            let status = self.status().await;
            let gateways = status["gateways"].as_array().unwrap();
            let alive: Vec<_> = gateways.iter().filter(|it| it["alive"] == true).collect();
            let all = alive.len() >= self.gateways.len() && alive.iter().all(|it| holds(it));
            anyhow::ensure!(all, "{status}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }
}

/// A `tidegate policy rollout` under way.
pub(crate) struct Leader(Child);

impl Leader {
    pub(crate) fn start(scene: &Scene, arguments: &[&str]) -> Self {
        Self::start_at(&scene.cluster.primary.url(), arguments)
    }

    /// Over a way to the primary.
    pub(crate) fn start_at(url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .args(["policy", "rollout", "--json"])
            .args(arguments);
        command
            .env_clear()
            .env("USER", "ada")
            .env("DATABASE_URL", url);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id().unwrap()).unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) -> Ended {
        let output = timeout(DEADLINE, self.0.wait_with_output()).await;
        let output = output.expect("it ends").unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            told: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// How many requests are under way.
const SENDERS: usize = 8;

/// Requests of many clients to both gateways, until it is dropped.
pub(crate) struct Traffic {
    _tasks: JoinSet<()>,
    pub(crate) failed: Arc<AtomicU64>,
}

impl Traffic {
    pub(crate) fn start(scene: &Scene) -> Self {
        let urls: Vec<_> = scene.gateways.iter().map(|it| it.url("/app/x")).collect();
        let failed = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for sender in 0..SENDERS {
            let (urls, failed) = (urls.clone(), Arc::clone(&failed));
            tasks.spawn(async move {
                let client = client();
                for number in (sender..).step_by(SENDERS) {
                    for url in &urls {
                        let request = client.get(url).header("x-client", number.to_string());
                        let answer = request.send().await;
                        let bad = answer.map_or(true, |it| it.status().is_server_error());
                        failed.fetch_add(u64::from(bad), Ordering::Relaxed);
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            });
        }
        Self {
            _tasks: tasks,
            failed,
        }
    }
}

/// The revision that a gateway decides by; 0 without one.
pub(crate) async fn in_force(gateway: &GatewayProcess) -> String {
    let answer = client()
        .get(gateway.admin_url("/admin/traffic-policy"))
        .send()
        .await;
    let answer = answer.unwrap();
    match answer.status().as_u16() {
        200 => header(&answer, "etag").trim_matches('"').to_owned(),
        _ => "0".to_owned(),
    }
}

/// The share of keys that a gateway decides by the revision of an open rollout, of 10,000.
pub(crate) async fn share(gateway: &GatewayProcess) -> f64 {
    metric(gateway, "tidegate_traffic_share").await * 10_000.0
}

/// A series of a gateway's metrics; 0 while it is absent.
pub(crate) async fn metric(gateway: &GatewayProcess, series: &str) -> f64 {
    let page = client().get(gateway.admin_url("/metrics")).send().await;
    let page = page.unwrap().text().await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(series));
    value.map_or(0.0, |value| value.trim().parse().unwrap())
}

async fn ended(command: GatewayCommand) -> Ended {
    let output = command.output().await.unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        told: String::from_utf8(output.stderr).unwrap(),
    }
}
