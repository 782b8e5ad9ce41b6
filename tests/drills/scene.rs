//! The scene of the drills: a gateway with a replica beside it, another one a region away, and the
//! primary still farther.

use std::time::Duration;

use tidegate::testkit::{Cluster, DelayProxy, PostgresServer, until};
use tokio::time::{Instant, sleep_until};

use super::drill::Length;
use super::traffic::{Answers, Traffic};
use crate::world::{DEADLINE, World, configured, gateway_of, migrated_cluster, told};

/// Round trips from the gateway.
pub(super) const TO_NEXT: Duration = Duration::from_millis(20);
pub(super) const TO_PRIMARY: Duration = Duration::from_millis(80);

/// The requirement for all drills.
pub(super) const PER_SECOND: u32 = 200;

/// The regions of the nodes.
pub(super) const HERE: &str = "eu-west-1";
pub(super) const NEXT: &str = "eu-central-1";

/// As many connections stand by as a node needs to take over from another: the requests per second,
/// each for one round trip. The spill budget gets half of the maximum.
const POOL: &str = "[pool]\nconnections_min = 8\nconnections_max = 32\n";

pub(super) const READ: &str = "/public/rates";

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) lines: Lines,
}

/// The links from the gateway to its nodes.
pub(super) struct Lines {
    pub(super) here: DelayProxy,
    pub(super) next: DelayProxy,
    pub(super) primary: DelayProxy,
}

impl Scene {
    /// Starts everything, and waits until the nodes are known and eventual reads stay here.
    pub(super) async fn start(length: Length, settings: &str) -> Self {
        Self::start_far(length, &format!("{settings}{POOL}"), TO_NEXT, TO_PRIMARY).await
    }

    /// Like [`start`](Self::start), with settings for the pool and nodes farther away.
    pub(super) async fn start_far(
        length: Length,
        settings: &str,
        to_next: Duration,
        to_primary: Duration,
    ) -> Self {
        let cluster = migrated_cluster(2).await;
        let lines = Lines::start(&cluster, to_next, to_primary).await;
        let url = |server: &PostgresServer, line: &DelayProxy| server.url_at(line.address());
        let gateway = gateway_of(&cluster)
            .env("DATABASE_URL", url(&cluster.primary, &lines.primary))
            .env("NEXT_URL", url(&cluster.replicas[1], &lines.next))
            .env(
                "DATABASE_READ_REPLICA_URL",
                url(&cluster.replicas[0], &lines.here),
            );
        let topology = format!(
            "{}{settings}[topology]\nprimary_region = \"us-east-1\"\n\
             [[topology.replica]]\nregion = \"{NEXT}\"\nurl = \"${{NEXT_URL}}\"\n",
            length.settings()
        );
        let gateway = configured(&cluster, gateway, &topology);
        let world = World::over(cluster, gateway).await;
        world.health_turns(200).await;
        let scene = Self { world, lines };
        scene.reads_come_from(HERE).await;
        scene
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic_at(PER_SECOND)
    }

    pub(super) fn traffic_at(&self, per_second: u32) -> Traffic {
        let url = self.world.gateway.url(READ);
        Traffic::of_eventual_reads(&self.world.client, url, per_second)
    }

    /// Traffic that has been steady long enough for all estimates to settle.
    pub(super) async fn steady_traffic(&self) -> Traffic {
        let traffic = self.traffic();
        pass(Duration::from_secs(2)).await;
        traffic
    }

    /// Waits until eventual reads are answered first by a region.
    pub(super) async fn reads_come_from(&self, region: &str) -> Instant {
        let wanted = async || {
            let response = self.world.get_at(READ, "eventual").await;
            let reason = told(&response, "reason");
            let first = !["retry", "hedge"].contains(&reason);
            Ok((first && told(&response, "node-region") == region).then(Instant::now))
        };
        let what = format!("eventual reads come from {region}");
        until(&what, 2 * DEADLINE, wanted).await.unwrap()
    }

    /// Waits until the breaker of the node here has opened a number of times in total.
    pub(super) async fn breaker_opened(&self, at_least: f64) -> f64 {
        let series = format!("tidegate_breaker_moves_total{{node=\"{HERE}\",state=\"open\"}}");
        self.world
            .metric_turns(&series, |count| count >= at_least)
            .await
    }

    /// Ends the drill and collects its answers.
    pub(super) async fn end(self, traffic: Traffic) -> Answers {
        traffic.stop().await
    }
}

impl Lines {
    async fn start(cluster: &Cluster, to_next: Duration, to_primary: Duration) -> Self {
        let line = async |server: &PostgresServer, round_trip| {
            let line = DelayProxy::start(server.address()).await.unwrap();
            line.set_round_trip(round_trip);
            line
        };
        Self {
            here: line(&cluster.replicas[0], Duration::ZERO).await,
            next: line(&cluster.replicas[1], to_next).await,
            primary: line(&cluster.primary, to_primary).await,
        }
    }
}

/// Lets time pass that is part of the drill itself: it waits only for the traffic.
pub(super) async fn pass(time: Duration) {
    sleep_until(Instant::now() + time).await;
}
