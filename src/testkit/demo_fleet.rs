//! The regions of the demo as a fleet: certificates, the ways between the gateways, and traffic policies.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::delay_proxy::DelayProxy;
use super::free_port::free_port;
use super::gateway_process::GatewayCommand;

/// A region is left soon and taken back soon, for those who watch.
const CLAUSES: &str = "\
defaults {
  leave   when errors > 20% or lag > 5s for 3s
  return  when lag < 2s for 1s
  retry   idempotent 1 budget 20%
}
";

/// The files that gateways share, and the ways on which they hear each other.
pub(super) struct DemoFleet {
    binary: PathBuf,
    folder: PathBuf,
    regions: Vec<&'static str>,
    ports: Vec<u16>,
    /// From each gateway to each; there is none to itself.
    ways: Vec<Vec<Option<DelayProxy>>>,
}

impl DemoFleet {
    /// Writes the certificates into a folder and lays the ways. A region comes with its round trip to
    /// the first one, past which all ways lead.
    pub(super) async fn prepare(
        binary: &Path,
        folder: PathBuf,
        regions: &[(&'static str, Duration)],
    ) -> Result<Self> {
        let names: Vec<_> = regions.iter().map(|(name, _)| *name).collect();
        let command = GatewayCommand::new(binary, "fleet").arg("certificates");
        let command = command.arg("--regions").arg(names.join(","));
        let output = command.arg("--out").arg(&folder).output().await?;
        succeeded("certificates", &output)?;
        let ports = regions.iter().map(|_| free_port());
        let ports: Vec<_> = ports.collect::<Result<_>>()?;
        let mut ways = Vec::new();
        for (from, (_, near)) in regions.iter().enumerate() {
            let mut row = Vec::new();
            for (to, (_, far)) in regions.iter().enumerate() {
                row.push(match from == to {
                    true => None,
                    false => Some(way(ports[to], *near + *far).await?),
                });
            }
            ways.push(row);
        }
        Ok(Self {
            binary: binary.to_owned(),
            folder,
            regions: names,
            ports,
            ways,
        })
    }

    /// Makes the policy store, before any gateway looks for it.
    pub(super) async fn make_store(&self, database: &str) -> Result<()> {
        let migrate = GatewayCommand::new(&self.binary, "migrate").arg("--only");
        let migrate = migrate.arg("traffic").env("DATABASE_URL", database);
        succeeded("migrate", &migrate.output().await?)
    }

    /// Rolls out the first policy over the running gateways.
    pub(super) async fn put_in_force(&self, database: &str) -> Result<()> {
        let revision = self.push(database, "").await?;
        let quick = ["rollout", &revision, "--bake", "1ms"];
        succeeded("rollout", &self.policy(database, &quick).await?)
    }

    /// Pushes the demo's policy with other policies before its own, and returns the revision.
    pub(super) async fn push(&self, database: &str, policies: &str) -> Result<String> {
        let declared = self.regions.iter().map(|it| format!("region {it}\n"));
        let declared: String = declared.collect();
        let order = self.regions.join(" | ");
        // On one machine a header stands for many clients.
        let own = format!("prefer local | {order}\n  affinity header x-client else client /24");
        let text = format!("{declared}{CLAUSES}{policies}policy everything {{\n  {own}\n}}\n");
        let file = self.folder.join("traffic.policy");
        fs::write(&file, text).context("cannot write the policy")?;
        let file = file.display().to_string();
        let push = ["push", &file, "--author", "demo"];
        let output = self.policy(database, &push).await?;
        succeeded("push", &output)?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let number = printed.lines().last().context("push prints a number")?;
        Ok(number.to_owned())
    }

    /// Runs `tidegate policy` to its end.
    pub(super) async fn policy(&self, database: &str, arguments: &[&str]) -> Result<Output> {
        let command = GatewayCommand::new(&self.binary, "policy").env("DATABASE_URL", database);
        let command = arguments.iter().fold(command, GatewayCommand::arg);
        command.output().await
    }

    /// Makes a region's gateway a member.
    pub(super) fn join(&self, index: usize, command: GatewayCommand) -> Result<GatewayCommand> {
        let region = self.regions[index];
        let ways = self.regions.iter().zip(&self.ways[index]);
        let ways = ways.filter_map(|(other, way)| Some((other, way.as_ref()?.address())));
        let peers: Vec<_> = ways
            .map(|(other, address)| format!("{{ region = \"{other}\", address = \"{address}\" }}"))
            .collect();
        let file = self.folder.join(format!("{region}.toml"));
        let toml = format!("[fleet]\npeers = [{}]\n", peers.join(", "));
        fs::write(&file, toml).context("cannot write a configuration")?;
        let own = |extension: &str| self.folder.join(format!("{region}.{extension}"));
        Ok(command
            .env("TIDEGATE_CONFIG", file)
            .env("FLEET_ADDR", format!("127.0.0.1:{}", self.ports[index]))
            .env("FLEET_CERT", own("crt"))
            .env("FLEET_KEY", own("key"))
            .env("FLEET_CA", self.folder.join("ca.crt")))
    }
}

fn succeeded(what: &str, output: &Output) -> Result<()> {
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}", told.trim());
    Ok(())
}

/// A link to a gateway, as long as the distance.
async fn way(port: u16, round_trip: Duration) -> Result<DelayProxy> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let way = DelayProxy::start(target).await?;
    way.set_round_trip(round_trip);
    Ok(way)
}
