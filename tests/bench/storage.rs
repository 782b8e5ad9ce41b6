//! Object storage beside its bucket directly, by the same client: latency of small objects, and large ones
//! through a link with a bandwidth.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt, PutPayload, RetryConfig};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::bare::{self, Role};
use super::bucket::link;
use super::cached::nginx_of;
use super::contest::{Pace, median, sorted};
use super::process::{Server, command, free_address, output};
use super::report::{Report, say};
use super::scene::{Scene, Setting};
use super::tls::cpu_seconds;

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SMALL_BYTES: usize = 4 << 10;
const PER_SECOND: u32 = 50;
const ROUNDS: usize = 5;
/// The lateness of a sleep beyond which a round says nothing about the gateway.
const LATE_MAX_MS: f64 = 2.0;
const CONTROL: Duration = Duration::from_millis(10);
const LINK_BYTES_PER_SECOND: f64 = 100.0 * MIB;
const MIB: f64 = 1_048_576.0;
const CHUNK_BYTES: usize = 8 << 20;
/// A gibibyte, or what a build without optimisation can be waited for.
const CHUNKS: usize = if cfg!(debug_assertions) { 8 } else { 128 };
/// `[storage] spool_memory_max`, by default.
const SPOOL_MIB: f64 = 64.0;

/// The whole of it: on an idle machine it takes half of that.
const MEASURE_MAX: Duration = Duration::from_secs(360);
/// One request: a gibibyte takes ten seconds through the link.
const REQUEST_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    let measured = timeout(MEASURE_MAX, measure_all(scene, pace, report)).await;
    measured.context("storage was not measured in six minutes")?
}

async fn measure_all(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("object storage, beside its bucket");
    let bucket = bare::start(Role::Bucket, None, "").await?;
    let far = link(bucket.address, LINK_BYTES_PER_SECOND).await?;
    let storage = Storage::start(scene).await?;
    let near = storage
        .repository("near", bucket.address.to_string())
        .await?;
    let distant = storage.repository("distant", far.to_string()).await?;
    let seconds = pace.slower().seconds;
    let nginx = nginx_of(scene, None, &bucket, "off", "").await?;
    let direct = |server: &Server| client(&server.address.to_string(), "direct", "key", "secret");
    let beside = [direct(&bucket)?, direct(&nginx)?];
    latencies(&beside, &near, seconds, report).await?;
    let direct = client(&far.to_string(), "direct", "key", "secret")?;
    transfers(&direct, &distant, &storage.server, report).await
}

/// A gateway with a listener for S3.
struct Storage<'a> {
    scene: &'a Scene,
    server: Server,
    listen: String,
}

impl<'a> Storage<'a> {
    async fn start(scene: &'a Scene) -> Result<Self> {
        let mut migrate = tidegate(scene, &["migrate"]);
        migrate.args(["--only", "storage"]);
        output(migrate).await?;
        let listen = free_address()?;
        let (mut command, _, _) = scene.command(&Setting::default())?;
        command.env("STORAGE_ADDR", listen.to_string());
        command.env("STORAGE_MASTER_KEY", MASTER_KEY);
        Ok(Self {
            scene,
            server: Server::start(command, listen).await?,
            listen: listen.to_string(),
        })
    }

    /// Makes a repository of one bucket; returns a client of it.
    async fn repository(&self, name: &str, address: String) -> Result<AmazonS3> {
        let url = format!("http://{address}/{name}");
        let bucket = format!("{name}-bucket");
        let add = [
            "storage",
            "bucket",
            "add",
            &bucket,
            "--provider",
            "s3",
            "--region",
            "here",
        ];
        output(tidegate(self.scene, &[&add[..], &["--url", &url]].concat())).await?;
        let add = ["storage", "repository", "add", name, "--member", &bucket];
        output(tidegate(self.scene, &add)).await?;
        let add = ["storage", "key", "add", name, "--mode", "write", "--json"];
        let key: Value = serde_json::from_str(&output(tidegate(self.scene, &add)).await?)?;
        let text = |field: &str| key[field].as_str().context("the key is not complete");
        client(&self.listen, name, text("keyId")?, text("secret")?)
    }
}

fn tidegate(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_tidegate"), None);
    command
        .args(arguments)
        .env("DATABASE_URL", scene.cluster.primary.url())
        .env("STORAGE_MASTER_KEY", MASTER_KEY)
        .env("STORAGE_BUCKET_ACCESS_KEY_ID", "key")
        .env("STORAGE_BUCKET_SECRET_ACCESS_KEY", "secret");
    command
}

fn client(address: &str, bucket: &str, key_id: &str, secret: &str) -> Result<AmazonS3> {
    let options = ClientOptions::new().with_timeout(REQUEST_MAX);
    // A request that fails is not measured a second time, and its reason is seen.
    let retry = RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    };
    let builder = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_region("here")
        .with_bucket_name(bucket)
        .with_access_key_id(key_id)
        .with_secret_access_key(secret)
        .with_client_options(options.with_allow_http(true))
        .with_retry(retry)
        .with_unsigned_payload(true);
    Ok(builder.build()?)
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy)]
struct Tail {
    p50: f64,
    p99: f64,
}

impl Tail {
    fn of(millis: impl Iterator<Item = f64>) -> Self {
        let sorted = sorted(millis);
        let last = sorted.len().saturating_sub(1);
        Self {
            p50: median(&sorted),
            p99: sorted[last.min(sorted.len() * 99 / 100)],
        }
    }

    /// What is added to another's.
    fn beside(self, other: Self) -> Self {
        Self {
            p50: self.p50 - other.p50,
            p99: self.p99 - other.p99,
        }
    }

    fn best(rounds: &[Self]) -> Self {
        let least = |of: fn(&Self) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
        Self {
            p50: least(|it| it.p50),
            p99: least(|it| it.p99),
        }
    }
}

async fn latencies(
    [direct, nginx]: &[AmazonS3; 2],
    through: &AmazonS3,
    seconds: u32,
    report: &mut Report,
) -> Result<()> {
    for (name, is_put, most) in [("GET", false, 1.0), ("PUT", true, 3.0)] {
        for store in [direct, nginx, through] {
            put(store, "small", SMALL_BYTES).await?;
        }
        let (mut overheads, mut of_nginx, mut void) = (Vec::new(), Vec::new(), 0);
        for round in 1..=ROUNDS {
            let (all, late) = join(
                async {
                    let before = requests(direct, is_put, seconds).await?;
                    let proxied = requests(nginx, is_put, seconds).await?;
                    anyhow::Ok((before, proxied, requests(through, is_put, seconds).await?))
                },
                lateness(3 * seconds),
            )
            .await;
            let (before, proxied, with) = all?;
            say(&format!(
                "  {round:>2}  {name}: bucket p50 {:.2} p99 {:.2} ms, through nginx p50 {:.2} p99 {:.2} ms, \
                 through the gateway p50 {:.2} p99 {:.2} ms",
                before.p50, before.p99, proxied.p50, proxied.p99, with.p50, with.p99
            ));
            if late > LATE_MAX_MS {
                void += 1;
            }
            overheads.push(with.beside(before));
            of_nginx.push(proxied.beside(before));
        }
        let (Tail { p50, p99 }, nginx) = (Tail::best(&overheads), Tail::best(&of_nginx));
        report.row(
            format!("{name} of 4 KiB through the gateway, over the bucket alone, {PER_SECOND} requests/s, best of {ROUNDS}"),
            format!(
                "p50 +{p50:.2} ms, p99 +{p99:.2} ms ({void} rounds void); through nginx +{:.2}, +{:.2} ms",
                nginx.p50, nginx.p99
            ),
            format!("≤ {most} ms, ≤ 5 ms"),
            p50 <= most && p99 <= 5.0,
        );
    }
    Ok(())
}

/// One client at a steady rate.
async fn requests(store: &AmazonS3, is_put: bool, seconds: u32) -> Result<Tail> {
    let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::new();
    let end = Instant::now() + Duration::from_secs(u64::from(seconds));
    while Instant::now() < end {
        ticks.tick().await;
        let started = Instant::now();
        match is_put {
            true => put(store, "small", SMALL_BYTES).await?,
            false => {
                store.get(&Path::from("small")).await?.bytes().await?;
            }
        }
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(Tail::of(took.into_iter()))
}

/// How late a sleep is, in milliseconds: the 95th percentile.
async fn lateness(seconds: u32) -> f64 {
    let end = Instant::now() + Duration::from_secs(u64::from(seconds));
    let mut late = Vec::new();
    while Instant::now() < end {
        let started = Instant::now();
        sleep(CONTROL).await;
        late.push((started.elapsed() - CONTROL).as_secs_f64() * 1_000.0);
    }
    let late = sorted(late.into_iter());
    late.get(late.len() * 95 / 100).copied().unwrap_or_default()
}

async fn put(store: &AmazonS3, key: &str, bytes: usize) -> Result<()> {
    let chunk = Bytes::from_static(&[0; CHUNK_BYTES]);
    let chunks = (0..bytes.div_ceil(CHUNK_BYTES)).map(|at| {
        let left = bytes - at * CHUNK_BYTES;
        chunk.slice(..left.min(CHUNK_BYTES))
    });
    store
        .put(&Path::from(key), PutPayload::from_iter(chunks))
        .await?;
    Ok(())
}

async fn get(store: &AmazonS3, key: &str) -> Result<()> {
    let mut bytes = store.get(&Path::from(key)).await?.into_stream();
    while let Some(chunk) = bytes.next().await {
        chunk?;
    }
    Ok(())
}

async fn transfers(
    direct: &AmazonS3,
    through: &AmazonS3,
    gateway: &Server,
    report: &mut Report,
) -> Result<()> {
    let pid = gateway.pid().context("the gateway has ended")?;
    let bytes = CHUNKS * CHUNK_BYTES;
    let idle = gateway.resident_mib()?;
    let gib = bytes as f64 / MIB / 1_024.0;
    for name in ["PUT", "GET"] {
        let run = async |store: &AmazonS3| {
            let started = Instant::now();
            match name {
                "PUT" => put(store, "large", bytes).await?,
                _ => get(store, "large").await?,
            }
            anyhow::Ok(bytes as f64 / started.elapsed().as_secs_f64())
        };
        let alone = run(direct).await?;
        let before = cpu_seconds(pid)?;
        let rate = run(through).await?;
        let cpu = (cpu_seconds(pid)? - before) / gib;
        report.row(
            format!("{name} of {gib} GiB through the gateway and a link of 100 MiB/s"),
            format!(
                "{:.1} MiB/s, {:.0} % of the bucket alone; {cpu:.1} s of CPU time per GiB",
                rate / MIB,
                rate / alone * 100.0
            ),
            "≥ 95 MiB/s",
            rate >= 0.95 * LINK_BYTES_PER_SECOND,
        );
    }
    let beside = gateway.peak_mib()? - idle - SPOOL_MIB;
    report.row(
        "memory for both, beside the spool",
        format!("{beside:.1} MiB"),
        "≤ 64 MiB",
        beside <= 64.0,
    );
    Ok(())
}
