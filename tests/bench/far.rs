//! Requests that need the primary, when it is 80 ms away.
//!
//! The line is a proxy whose timers are exact to a millisecond and always late, each way: its
//! configured delay is corrected by the round trip of an empty statement.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tidegate::testkit::DelayProxy;
use tokio::time::Instant;

use super::load::{client, latencies, percentile_ms};
use super::report::{Report, say};
use super::scene::{Scene, Setting};

/// The requests that measure the line alone.
const BARE_REQUESTS: usize = 21;
const ROUND_TRIP: Duration = Duration::from_millis(80);
const REQUESTS: usize = 40;
/// Beyond the round trip, in milliseconds.
const OVERHEAD_MAX: f64 = 3.0;

pub(crate) async fn measure(scene: &Scene, report: &mut Report) -> Result<()> {
    say("strong read and write with token, the primary 80 ms away");
    let line = DelayProxy::start(scene.cluster.primary.address()).await?;
    let url = scene.cluster.primary.url_at(line.address());
    line.set_round_trip(ROUND_TRIP);
    let late = bare_round_trip(&url).await?.saturating_sub(ROUND_TRIP);
    line.set_round_trip(ROUND_TRIP - late);
    let bare = bare_round_trip(&url).await?.as_secs_f64() * 1_000.0;
    say(&format!("  the line alone: {bare:.2} ms"));
    let setting = Setting {
        database_url: Some(url),
        ..Setting::default()
    };
    let gateway = scene.gateway(&setting).await?;
    let client = client()?;
    let write = || {
        let request = client.post(gateway.url("/marks"));
        request.json(&json!({ "text": "measured" }))
    };
    let first = write().send().await?;
    let token = first.headers().get("x-consistency-token");
    let token = token.context("a write carries a token")?.clone();
    let read = || {
        let request = client.get(gateway.url("/accounts/7"));
        let request = request.header("X-Consistency", "strong");
        request.header("X-Consistency-Token", token.clone())
    };
    for (name, taken) in [
        ("strong read with token", latencies(REQUESTS, read).await?),
        ("write with token", latencies(REQUESTS, write).await?),
    ] {
        let (p50, p99) = (percentile_ms(&taken, 50), percentile_ms(&taken, 99));
        say(&format!("  {name}: p50 {p50:.2} ms, p99 {p99:.2} ms"));
        let most = ROUND_TRIP.as_secs_f64() * 1_000.0 + OVERHEAD_MAX;
        report.row(
            format!("{name}, 80 ms away, one after another"),
            format!("p50 {p50:.2} ms, p99 {p99:.2} ms; the line alone {bare:.2} ms"),
            "p50 ≤ 83 ms",
            p50 <= most,
        );
    }
    Ok(())
}

/// The median round trip of a statement without text.
async fn bare_round_trip(url: &str) -> Result<Duration> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let mut taken = Vec::with_capacity(BARE_REQUESTS);
    for _ in 0..BARE_REQUESTS {
        let start = Instant::now();
        client.simple_query("").await?;
        taken.push(start.elapsed());
    }
    drop(client);
    connection.await??;
    taken.sort_unstable();
    Ok(taken[BARE_REQUESTS / 2])
}
