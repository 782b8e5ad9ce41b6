//! Gateways of several regions as a fleet, each with an application behind it and no database.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use http::Method;
use reqwest::{Client, RequestBuilder, Response};
use tempfile::TempDir;
use tidegate::gateway::admin::Topology;
use tidegate::peers::{FleetRegionView, FleetView};
use tidegate::testkit::{DelayProxy, GatewayCommand, GatewayProcess, free_port, until};

use crate::fleet::certificates;
use crate::upstream::kit::{App, endpoint};
use crate::world::{BINARY, DEADLINE, JWT_SECRET, TOKEN_SECRET, client, header};

/// The regions of a fleet; requests enter at the first one.
pub(crate) const REGIONS: [&str; 5] = [
    "eu-west-1",
    "us-east-1",
    "ap-southeast-1",
    "eu-north-1",
    "sa-east-1",
];

/// Requests go elsewhere, and here where that fails.
pub(crate) const AWAY: &str =
    "policy away {\n  prefer us-east-1 | local\n  retry idempotent 1 budget 20%\n}\n";

/// An application that answers with its region.
pub(crate) fn named(region: &'static str) -> Router {
    let answer = move || async move { region };
    Router::new().fallback(answer)
}

/// A gateway and its application.
pub(crate) struct Member {
    pub(crate) region: &'static str,
    pub(crate) app: App,
    /// None once it was killed.
    pub(crate) gateway: Option<GatewayProcess>,
}

/// A fleet.
pub(crate) struct FleetScene {
    pub(crate) members: Vec<Member>,
    pub(crate) client: Client,
    folder: TempDir,
    pub(crate) ports: Vec<u16>,
    /// What lies between the gateway that dials and the one that is dialled; nothing where it is absent.
    pub(crate) lines: BTreeMap<(usize, usize), DelayProxy>,
    /// What is started in place of a gateway's binary.
    pub(crate) binaries: BTreeMap<usize, PathBuf>,
    /// More variables of a gateway.
    pub(crate) variables: Vec<(usize, &'static str, String)>,
    /// What every configuration has; `${APP}` is the URL of the region's application.
    more: String,
}

impl FleetScene {
    /// Starts gateways; the first one's policy sends requests elsewhere.
    pub(crate) async fn start(regions: usize, policy: &str) -> Self {
        Self::configured(regions, policy, "").await
    }

    /// Starts gateways with more in their configurations.
    pub(crate) async fn configured(regions: usize, policy: &str, more: &str) -> Self {
        Self::with(regions, policy, more, named).await
    }

    /// Starts gateways with an application each.
    pub(crate) async fn with(
        regions: usize,
        policy: &str,
        more: &str,
        app: impl Fn(&'static str) -> Router,
    ) -> Self {
        let mut scene = Self::prepared(regions, policy, more, app).await;
        scene.start_all().await;
        scene
    }

    /// Prepares gateways, which are to be started yet.
    pub(crate) async fn prepared(
        regions: usize,
        policy: &str,
        more: &str,
        app: impl Fn(&'static str) -> Router,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let regions = &REGIONS[..regions];
        certificates(folder.path(), &["--regions", &regions.join(",")]).await;
        let declared: String = regions.iter().map(|it| format!("region {it}\n")).collect();
        std::fs::write(folder.path().join("traffic.policy"), declared + policy).unwrap();
        let mut scene = Self {
            members: Vec::new(),
            client: client(),
            folder,
            ports: regions.iter().map(|_| free_port().unwrap()).collect(),
            lines: BTreeMap::new(),
            binaries: BTreeMap::new(),
            variables: Vec::new(),
            more: more.to_owned(),
        };
        for region in regions {
            let app = App::serve(app(region)).await;
            scene.members.push(Member {
                region,
                app,
                gateway: None,
            });
        }
        scene
    }

    /// Puts a line between every two gateways, which delays each way by as much as `way` says.
    pub(crate) async fn lay_lines(&mut self, way: impl Fn(usize, usize) -> Duration) {
        for (from, to) in self.pairs() {
            let target = SocketAddr::from(([127, 0, 0, 1], self.ports[to]));
            let line = DelayProxy::start(target).await.unwrap();
            line.set_delay(way(from, to), way(to, from));
            self.lines.insert((from, to), line);
        }
    }

    /// Gives every region a second gateway, which comes after all first ones.
    pub(crate) async fn add_second_gateways(&mut self) {
        for at in 0..self.members.len() {
            let region = self.members[at].region;
            self.members.push(Member {
                region,
                app: App::serve(named(region)).await,
                gateway: None,
            });
            self.ports.push(free_port().unwrap());
        }
    }

    /// Gives the other regions' gateways the policy of the first one.
    pub(crate) fn share_policy(&self) {
        std::fs::copy(self.file("traffic.policy"), self.file("others.policy")).unwrap();
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let all = 0..self.members.len();
        let pairs = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).collect()
    }

    /// Starts all gateways, and waits until they know each other.
    pub(crate) async fn start_all(&mut self) {
        for at in 0..self.members.len() {
            self.start_one(at).await;
        }
        for at in 0..self.members.len() {
            self.until_all_are(at, "well").await;
        }
    }

    /// Gives all regions but the first one a policy, and starts their gateways anew.
    pub(crate) async fn restart_others(&mut self, policy: &str) {
        let regions = self
            .members
            .iter()
            .map(|it| format!("region {}\n", it.region));
        let text = regions.collect::<String>() + policy;
        std::fs::write(self.file("others.policy"), text).unwrap();
        for at in 1..self.members.len() {
            self.start_one(at).await;
        }
        for at in 0..self.members.len() {
            self.until_all_are(at, "well").await;
        }
    }

    /// Starts the gateway of a region.
    pub(crate) async fn start_one(&mut self, at: usize) {
        self.kill(at);
        let member = &self.members[at];
        let peers = (0..self.members.len()).filter(|other| *other != at);
        let peers: Vec<_> = peers
            .map(|other| {
                let region = self.members[other].region;
                let address = self.address(at, other);
                format!("{{ region = \"{region}\", address = \"{address}\" }}")
            })
            .collect();
        let file = |name: &str| self.file(name);
        let policy = file(match member.region == REGIONS[0] {
            true => "traffic.policy",
            false => "others.policy",
        });
        let policy = match policy.exists() {
            true => format!("traffic_policy = \"{}\"\n", policy.display()),
            false => String::new(),
        };
        let toml = format!(
            "{policy}\n[fleet]\npeers = [{}]\n{}",
            peers.join(", "),
            self.more.replace("${APP}", &member.app.url())
                + &endpoint("*", "/app/{*rest}", &member.app.url())
        );
        std::fs::write(self.configuration(at), toml).unwrap();
        let gateway = self.command(at, "serve");
        let mut variables = self.variables.iter();
        let gateway = match variables.any(|(of, name, _)| (*of, *name) == (at, "RUST_LOG")) {
            true => gateway,
            false => gateway.env("RUST_LOG", "info,tidegate=debug"),
        };
        self.members[at].gateway = Some(gateway.start().await.unwrap());
    }

    fn address(&self, from: usize, to: usize) -> SocketAddr {
        let line = self.lines.get(&(from, to)).map(DelayProxy::address);
        line.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], self.ports[to])))
    }

    fn configuration(&self, at: usize) -> PathBuf {
        let region = self.members[at].region;
        let before = self.members[..at].iter();
        match before.filter(|it| it.region == region).count() {
            0 => self.file(&format!("{region}.toml")),
            number => self.file(&format!("{region}-{number}.toml")),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A subcommand with the configuration of a region's gateway.
    pub(crate) fn command(&self, at: usize, subcommand: &str) -> GatewayCommand {
        let region = self.members[at].region;
        let binary = self.binaries.get(&at).map(PathBuf::as_path);
        let binary = binary.unwrap_or(Path::new(BINARY));
        let command = GatewayCommand::new(binary, subcommand)
            .env("REGION", region)
            .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
            .env("AUTH_JWT_SECRET", JWT_SECRET)
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("TIDEGATE_CONFIG", self.configuration(at))
            .env("FLEET_ADDR", format!("127.0.0.1:{}", self.ports[at]))
            .env("FLEET_CERT", self.file(&format!("{region}.crt")))
            .env("FLEET_KEY", self.file(&format!("{region}.key")))
            .env("FLEET_CA", self.file("ca.crt"));
        let variables = self.variables.iter().filter(|(of, ..)| *of == at);
        variables.fold(command, |all, (_, name, value)| all.env(name, value))
    }

    /// Kills the gateway of a region.
    pub(crate) fn kill(&mut self, at: usize) {
        self.members[at].gateway = None;
    }

    pub(crate) fn gateway(&self, at: usize) -> &GatewayProcess {
        self.members[at].gateway.as_ref().unwrap()
    }

    pub(crate) fn app(&self, at: usize) -> &App {
        &self.members[at].app
    }

    /// A request that enters at the first region.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.gateway(0).url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// What a gateway knows of the fleet.
    pub(crate) async fn view(&self, at: usize) -> FleetView {
        let url = self.gateway(at).admin_url("/admin/topology");
        let topology = self.client.get(url).send().await.unwrap();
        let topology: Topology = topology.json().await.unwrap();
        topology.fleet.unwrap()
    }

    /// Waits until a gateway has tunnels to all others and they are in a state.
    pub(crate) async fn until_all_are(&self, at: usize, state: &str) {
        let own = self.members[at].region;
        let others: std::collections::BTreeSet<_> =
            self.members.iter().map(|it| it.region).collect();
        let others = others.into_iter().filter(|it| *it != own).count();
        let is_it = |region: &&FleetRegionView| region.tunnels > 0 && region.state == state;
        until(state, DEADLINE, async || {
            let view = self.view(at).await;
            let there = view.regions.iter().skip(1).filter(is_it).count();
            anyhow::ensure!(there == others, "{view:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Resident memory of a gateway, in bytes.
    pub(super) fn memory(&self, at: usize) -> u64 {
        let status = format!("/proc/{}/status", self.gateway(at).pid().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() << 10
    }

    /// A metric's value at the first gateway; zero while it is absent.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.metrics().await;
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// All metrics of the first gateway.
    pub(crate) async fn metrics(&self) -> String {
        let page = self.client.get(self.gateway(0).admin_url("/metrics"));
        page.send().await.unwrap().text().await.unwrap()
    }
}

/// The last list item of an answer's `Consistency-Status`: what the gateway has added where it entered.
pub(crate) fn entry(response: &Response) -> &str {
    let status = header(response, "consistency-status");
    status.split(", ").last().unwrap_or_default()
}

/// The first one: the region that has served.
pub(crate) fn serving(response: &Response) -> &str {
    let status = header(response, "consistency-status");
    status.split([';', ',']).next().unwrap_or_default()
}
