//! The regions of the demo as a fleet: certificates, a traffic policy, and where the others are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

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

/// The files that gateways share, and the ports on which they hear each other.
pub(super) struct DemoFleet {
    folder: PathBuf,
    regions: Vec<&'static str>,
    ports: Vec<u16>,
}

impl DemoFleet {
    /// Writes the certificates and the policy into a folder.
    pub(super) async fn prepare(
        binary: &Path,
        folder: PathBuf,
        regions: Vec<&'static str>,
    ) -> Result<Self> {
        let command = GatewayCommand::new(binary, "fleet").arg("certificates");
        let command = command.arg("--regions").arg(regions.join(","));
        let output = command.arg("--out").arg(&folder).output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "certificates: {}", told.trim());
        let declared: String = regions.iter().map(|it| format!("region {it}\n")).collect();
        let order = regions.join(" | ");
        let policy = format!("{declared}{CLAUSES}policy everything {{ prefer local | {order} }}\n");
        fs::write(folder.join("traffic.policy"), policy).context("cannot write the policy")?;
        let ports = regions.iter().map(|_| free_port());
        Ok(Self {
            ports: ports.collect::<Result<_>>()?,
            folder,
            regions,
        })
    }

    /// Makes a region's gateway a member.
    pub(super) fn join(&self, index: usize, command: GatewayCommand) -> Result<GatewayCommand> {
        let region = self.regions[index];
        let others = self.regions.iter().zip(&self.ports);
        let others = others.filter(|(other, _)| **other != region);
        let peers: Vec<_> = others
            .map(|(other, port)| {
                format!("{{ region = \"{other}\", address = \"127.0.0.1:{port}\" }}")
            })
            .collect();
        let file = self.folder.join(format!("{region}.toml"));
        let toml = format!("[fleet]\npeers = [{}]\n", peers.join(", "));
        fs::write(&file, toml).context("cannot write a configuration")?;
        let own = |extension: &str| self.folder.join(format!("{region}.{extension}"));
        Ok(command
            .env("TIDEGATE_CONFIG", file)
            .env(
                "TIDEGATE_TRAFFIC_POLICY",
                self.folder.join("traffic.policy"),
            )
            .env("FLEET_ADDR", format!("127.0.0.1:{}", self.ports[index]))
            .env("FLEET_CERT", own("crt"))
            .env("FLEET_KEY", own("key"))
            .env("FLEET_CA", self.folder.join("ca.crt")))
    }
}
