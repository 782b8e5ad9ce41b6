//! Three regions: a primary, two replicas, a gateway next to each, and the long links between them.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::cluster::Cluster;
use super::delay_proxy::DelayProxy;
use super::demo_fleet::DemoFleet;
use super::gateway_process::{GatewayCommand, GatewayProcess};
use super::rate_feed::RateFeed;

/// The regions in the order of their ports, with their round trips to the primary. The first has
/// the primary, the others a replica each.
const REGIONS: [(&str, Duration); 3] = [
    ("us-east-1", Duration::ZERO),
    ("eu-west-1", Duration::from_millis(80)),
    ("ap-southeast-1", Duration::from_millis(220)),
];

/// An admin port is its public port plus this.
const ADMIN_PORT_OFFSET: u16 = 1000;

/// The ports of 127.0.0.1 on which the gateways listen.
#[derive(Clone, Copy)]
pub(super) enum Ports {
    /// Any free ports.
    Free,
    /// This port and the two above it.
    From(u16),
}

/// Three regions; dropping it ends them, gateways first.
pub(super) struct World {
    pub(super) regions: Vec<Region>,
    /// A JWT for the account `alice`.
    pub(super) jwt: String,
    /// The token that the gateways' admin listeners require for writes.
    pub(super) admin_token: String,
    _feed: RateFeed,
    pub(super) fleet: DemoFleet,
    pub(super) cluster: Cluster,
}

/// One region.
pub(super) struct Region {
    pub(super) name: &'static str,
    pub(super) gateway: GatewayProcess,
    /// Its index among the replicas; `None` in the primary's region.
    pub(super) replica: Option<usize>,
    pub(super) round_trip: Duration,
    _line: Option<DelayProxy>,
}

/// The settings that all gateways share.
struct Shared {
    binary: PathBuf,
    token_secret: String,
    admin_token: String,
    jwt_secret: String,
    ports: Ports,
    fleet: DemoFleet,
}

impl World {
    /// Starts everything, including the changing rates.
    pub(super) async fn start(ports: Ports) -> Result<Self> {
        ports.check()?;
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let cluster = Cluster::start(REGIONS.len() - 1).await?;
        let folder = cluster.workspace().path().join("fleet");
        let shared = Shared {
            fleet: DemoFleet::prepare(&binary, folder, &REGIONS).await?,
            binary,
            token_secret: secret(),
            admin_token: secret(),
            jwt_secret: secret(),
            ports,
        };
        migrate(&shared.binary, &cluster.primary.url()).await?;
        shared.fleet.make_store(&cluster.primary.url()).await?;
        cluster.wait_for_replicas().await?;
        let feed = RateFeed::start(&cluster.primary).await?;
        let regions = (0..REGIONS.len()).map(|index| Region::start(index, &shared, &cluster));
        let regions = try_join_all(regions).await?;
        shared.fleet.put_in_force(&cluster.primary.url()).await?;
        let jwt = mint_jwt(&shared).await?;
        Ok(Self {
            regions,
            jwt,
            admin_token: shared.admin_token,
            _feed: feed,
            fleet: shared.fleet,
            cluster,
        })
    }
}

impl Region {
    async fn start(index: usize, shared: &Shared, cluster: &Cluster) -> Result<Self> {
        let (name, round_trip) = REGIONS[index];
        let (listen, admin) = shared.ports.addresses(index);
        let replica = index.checked_sub(1);
        let (database, line) = line_to_primary(cluster, round_trip).await?;
        let mut command = GatewayCommand::new(&shared.binary, "serve")
            .out_of_reach_of_ctrl_c()
            // A collector shows the demo's traces.
            .inherit("OTEL_")
            .env("REGION", name)
            .env("DATABASE_URL", database)
            .env("LISTEN_ADDR", listen)
            .env("ADMIN_ADDR", admin)
            .env("TOKEN_SECRET", &shared.token_secret)
            .env("ADMIN_TOKEN", &shared.admin_token)
            .env("AUTH_JWT_SECRET", &shared.jwt_secret);
        if let Some(replica) = replica {
            command = command.env("DATABASE_READ_REPLICA_URL", cluster.replicas[replica].url());
        }
        let command = shared.fleet.join(index, command)?;
        let gateway = command.start_in(cluster.workspace()).await;
        // A port may have been taken since, and the gateway names variables that the user has not set.
        let gateway = gateway.map_err(|error| match shared.ports.check_of(index) {
            Ok(()) => error,
            Err(taken) => error.context(format!("{taken:#}")),
        });
        let gateway = gateway.with_context(|| format!("the gateway of {name}"))?;
        Ok(Self {
            name,
            gateway,
            replica,
            round_trip,
            _line: line,
        })
    }
}

impl Ports {
    /// Public and admin address of a region's gateway.
    fn addresses(self, index: usize) -> (String, String) {
        let (public, admin) = match self {
            Self::Free => (0, 0),
            Self::From(base) => {
                let public = base.saturating_add(u16::try_from(index).unwrap_or(u16::MAX));
                (public, public.saturating_add(ADMIN_PORT_OFFSET))
            }
        };
        (format!("127.0.0.1:{public}"), format!("127.0.0.1:{admin}"))
    }

    /// Detects a port that is in use before anything is started.
    fn check(self) -> Result<()> {
        (0..REGIONS.len()).try_for_each(|index| self.check_of(index))
    }

    /// The same for one region.
    fn check_of(self, index: usize) -> Result<()> {
        let (public, admin) = self.addresses(index);
        for address in [public, admin] {
            TcpListener::bind(&address).map_err(|error| {
                let advice = match error.kind() {
                    ErrorKind::AddrInUse => {
                        "is in use: stop what listens there, or use --port-base"
                    }
                    _ => "cannot be listened on: choose other ports with --port-base",
                };
                anyhow::Error::new(error).context(format!("{address} {advice}"))
            })?;
        }
        Ok(())
    }
}

/// The primary's URL for a region: over a link as long as the distance.
async fn line_to_primary(
    cluster: &Cluster,
    round_trip: Duration,
) -> Result<(String, Option<DelayProxy>)> {
    if round_trip.is_zero() {
        return Ok((cluster.primary.url(), None));
    }
    let line = DelayProxy::start(cluster.primary.address()).await?;
    line.set_round_trip(round_trip);
    Ok((cluster.primary.url_at(line.address()), Some(line)))
}

async fn migrate(binary: &Path, database: &str) -> Result<()> {
    let command = GatewayCommand::new(binary, "migrate").arg("--demo-data");
    output(command.env("DATABASE_URL", database))
        .await
        .context("tidegate migrate --demo-data")?;
    Ok(())
}

/// Valid for a day, so that the lines to paste remain usable.
async fn mint_jwt(shared: &Shared) -> Result<String> {
    let command = GatewayCommand::new(&shared.binary, "token")
        .arg("--sub")
        .arg("alice");
    let command = command
        .arg("--ttl")
        .arg("24h")
        .env("AUTH_JWT_SECRET", &shared.jwt_secret);
    Ok(output(command)
        .await
        .context("tidegate token --sub alice")?
        .trim()
        .to_owned())
}

async fn output(command: GatewayCommand) -> Result<String> {
    let output = command.output().await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        told.trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Random enough for a world on 127.0.0.1 that ends with its terminal.
fn secret() -> String {
    format!("{}{}", Uuid::now_v7().simple(), Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_option_that_chooses_others() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let told = Ports::From(address.port()).check_of(0).unwrap_err();
        let told = format!("{told:#}");
        let expected = format!("{address} is in use: ");
        assert!(
            told.starts_with(&expected) && told.contains("--port-base"),
            "{told}"
        );
        assert!(Ports::Free.check().is_ok());
    }
}
