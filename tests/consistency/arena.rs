//! Two regions, a replica and a gateway in each, and a link that can fail between every gateway and
//! every server.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use reqwest::Client;
use tempfile::TempDir;
use tidegate::testkit::{Cluster, PostgresServer, until};

use super::history::{Value, Version};
use super::post::{Post, REGIONS};
use super::registers::{SCHEMA, Statements};
use super::wall_clock::{WallClocks, true_time};

pub(super) const GATEWAYS: usize = REGIONS.len();
/// A gateway's links: to the primary, then to each replica.
pub(super) const LINES: usize = 1 + REGIONS.len();
/// A restarted primary may take a while on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(60);
/// An answer may be in flight for a while.
const CLOCK_TOLERANCE: f64 = 1.0;

/// What the role of the second gateway must not see for the run to be meaningful.
const IS_BLIND: &str = "set role plain; \
    select pid is not null and status is null and received_tli is null \
    and not has_function_privilege('pg_read_file(text)', 'execute') \
    and not has_function_privilege('pg_read_file(text, bigint, bigint, boolean)', 'execute') \
    from pg_stat_wal_receiver";

/// Everything a run needs; dropping it ends it.
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    pub(super) posts: Vec<Post>,
    pub(super) addresses: Addresses,
    http: Client,
    /// The clocks of all servers and gateways, or why they cannot be changed.
    clocks: Result<Arc<WallClocks>, String>,
    _configurations: TempDir,
}

/// The gateways' current addresses; one that was killed comes back at another.
#[derive(Clone)]
pub(super) struct Addresses(Arc<RwLock<Vec<String>>>);

impl Arena {
    pub(super) async fn start(statements: Statements) -> Self {
        let clocks = WallClocks::make().map(Arc::new);
        let clocks = clocks.map_err(|error| format!("{error:#}"));
        let cluster = start_cluster(clocks.as_ref().ok().cloned()).await;
        let configurations = tempfile::tempdir().unwrap();
        let mut posts = Vec::new();
        for (region, name) in REGIONS.iter().enumerate() {
            let file = configurations.path().join(format!("{region}.toml"));
            let clock = clocks.as_ref().ok();
            let clock = clock.map(|clocks| clocks.clock(name).unwrap());
            posts.push(Post::start(&cluster, region, file, clock, statements).await);
        }
        let urls = posts.iter().map(|post| post.gateway.url("")).collect();
        let arena = Self {
            cluster,
            posts,
            addresses: Addresses(Arc::new(RwLock::new(urls))),
            http: crate::world::client(),
            clocks,
            _configurations: configurations,
        };
        arena.wait_until_healthy().await;
        arena
    }

    /// Why clocks cannot be changed here, if they cannot.
    pub(super) fn clocks_missing(&self) -> Option<&String> {
        self.clocks.as_ref().err()
    }

    /// Waits until every gateway finds everything healthy again, without restarting it.
    pub(super) async fn wait_until_healthy(&self) {
        for post in &self.posts {
            let url = post.gateway.url("/health/edge");
            let healthy = async || {
                let response = self.http.get(&url).send().await?;
                Ok(response.status().is_success().then_some(()))
            };
            let waited = until("the gateway is healthy", DEADLINE, healthy).await;
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
        post.restart().await;
        self.addresses.set(index, post.gateway.url(""));
    }

    /// Sets a clock wrong, and waits until its owner reports the wrong time.
    pub(super) async fn put_clock_off(&self, whose: Whose, seconds: i64) {
        let clocks = self.clocks.as_ref().unwrap();
        let name = match whose {
            Whose::Primary => self.cluster.primary.name(),
            Whose::Replica(index) => self.cluster.replicas[index].name(),
            Whose::Gateway(index) => REGIONS[index],
        };
        clocks.put_off(name, seconds).unwrap();
        let off = async || {
            let told = match whose {
                Whose::Primary => time_of_server(&self.cluster.primary).await?,
                Whose::Replica(index) => time_of_server(&self.cluster.replicas[index]).await?,
                Whose::Gateway(index) => self.time_of_gateway(index).await?,
            };
            let wrong_by = told - true_time() - seconds as f64;
            Ok((wrong_by.abs() < CLOCK_TOLERANCE).then_some(()))
        };
        until("the clock is off", DEADLINE, off).await.unwrap();
    }

    /// The id that a gateway gives to a request contains its time; hyper keeps the date of an
    /// answer until its clock has passed it, however far that jumped back.
    async fn time_of_gateway(&self, index: usize) -> anyhow::Result<f64> {
        let url = self.posts[index].gateway.url("/health/live");
        let response = self.http.get(url).send().await?;
        let id = response.headers().get("x-request-id").context("no id")?;
        let id: uuid::Uuid = id.to_str()?.parse()?;
        let (seconds, nanos) = id.get_timestamp().context("no time in it")?.to_unix();
        Ok(Duration::new(seconds, nanos).as_secs_f64())
    }

    /// Every write of a round that is part of the primary's history, by value.
    pub(super) async fn ledger(&self, round: usize) -> HashMap<Value, Vec<Version>> {
        let sql = "select value, version from ledger where key like $1";
        let client = self.cluster.primary.client().await.unwrap();
        let rows = client.query(sql, &[&format!("{round}-%")]).await.unwrap();
        let mut ledger: HashMap<Value, Vec<Version>> = HashMap::new();
        for row in rows {
            let (value, version) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
            let versions = ledger.entry(value.cast_unsigned()).or_default();
            versions.push(version.cast_unsigned());
        }
        ledger
    }
}

/// A process with a clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    Primary,
    Replica(usize),
    Gateway(usize),
}

impl Addresses {
    pub(super) fn of(&self, gateway: usize) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner)[gateway].clone()
    }

    fn set(&self, gateway: usize, url: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner)[gateway] = url;
    }
}

/// Servers with their own clocks, if clocks can be changed.
async fn start_cluster(clocks: Option<Arc<WallClocks>>) -> Cluster {
    let variables = move |name: &str| match &clocks {
        Some(clocks) => clocks.clock(name).unwrap().variables().into(),
        None => Vec::new(),
    };
    let cluster = Cluster::start_with(GATEWAYS, variables).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    for replica in &cluster.replicas {
        let blind = replica.value(IS_BLIND).await.unwrap();
        assert_eq!(blind.as_deref(), Some("t"), "the role sees too much");
    }
    cluster
}

async fn time_of_server(server: &PostgresServer) -> anyhow::Result<f64> {
    let told = "select extract(epoch from clock_timestamp())";
    let told = server.value(told).await?.context("no time")?;
    Ok(told.parse()?)
}
