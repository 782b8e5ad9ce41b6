//! The loads: `wrk` for throughput, `pgbench` for PostgreSQL itself, one client for latency.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, RequestBuilder};
use tokio::time::Instant;

use super::process::{command, output};

/// Clients of every load, each with its own connection.
pub(crate) const CLIENTS: usize = 64;

/// One round of one contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// The 99th percentile of latency in milliseconds, if the load reports it.
    pub(crate) p99_ms: Option<f64>,
    /// The cores that the server took, if it was watched.
    pub(crate) cores: Option<f64>,
}

/// How `wrk` loads a server.
#[derive(Clone)]
pub(crate) struct Wrk {
    pub(crate) url: String,
    pub(crate) seconds: u32,
    pub(crate) core: Option<usize>,
    pub(crate) script: Option<PathBuf>,
}

impl Wrk {
    pub(crate) async fn run(&self) -> Result<Sample> {
        let mut wrk = command("wrk", self.core);
        wrk.arg("--latency")
            .arg("-t1")
            .arg(format!("-c{CLIENTS}"))
            .arg(format!("-d{}s", self.seconds));
        if let Some(script) = &self.script {
            wrk.arg("-s").arg(script);
        }
        wrk.arg(&self.url);
        let told = output(wrk).await?;
        let wrong = told
            .lines()
            .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
        ensure!(
            wrong.is_none(),
            "{}: {}",
            self.url,
            wrong.unwrap_or_default().trim()
        );
        let field = |name: &str| {
            let line = told.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(str::trim)
                .with_context(|| format!("wrk reports no {name}: {told}"))
        };
        Ok(Sample {
            per_second: field("Requests/sec:")?.parse()?,
            p99_ms: Some(milliseconds(field("99%")?)?),
            cores: None,
        })
    }
}

/// Reads `812.00us`, `3.10ms` or `1.02s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    anyhow::bail!("{text} is not a time")
}

/// How `pgbench` loads PostgreSQL, or a pooler in front of it.
#[derive(Clone)]
pub(crate) struct Pgbench {
    pub(crate) script: PathBuf,
    pub(crate) seconds: u32,
    pub(crate) url: String,
    /// The value of `-M`.
    pub(crate) protocol: &'static str,
    pub(crate) clients: usize,
}

impl Pgbench {
    pub(crate) async fn run(&self) -> Result<Sample> {
        let mut pgbench = command("pgbench", None);
        pgbench
            .args(["--no-vacuum", "-M", self.protocol])
            .arg("-f")
            .arg(&self.script)
            .arg(format!("-c{}", self.clients))
            .arg("-j2")
            .arg(format!("-T{}", self.seconds))
            .arg(&self.url);
        let told = output(pgbench).await?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = tps.and_then(|line| line.split_whitespace().next());
        Ok(Sample {
            per_second: tps
                .with_context(|| format!("pgbench reports no tps: {told}"))?
                .parse()?,
            p99_ms: None,
            cores: None,
        })
    }
}

/// Latencies of requests sent one after another, sorted.
pub(crate) async fn latencies(
    count: usize,
    mut request: impl FnMut() -> RequestBuilder,
) -> Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let request = request();
        let start = Instant::now();
        let response = request.send().await?;
        let status = response.status();
        let body = response.text().await?;
        taken.push(start.elapsed());
        ensure!(status.is_success(), "{status}: {body}");
    }
    taken.sort_unstable();
    Ok(taken)
}

/// A percentile of sorted latencies in milliseconds, by nearest rank.
pub(crate) fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1].as_secs_f64() * 1_000.0
}

pub(crate) fn client() -> Result<Client> {
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(15));
    Ok(client.tcp_nodelay(true).build()?)
}
