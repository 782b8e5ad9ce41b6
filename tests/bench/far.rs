//! What asks the primary, when that is 80 ms away.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tidegate::demo::DelayProxy;

use super::load::{client, latencies, percentile_ms};
use super::report::{Report, say};
use super::scene::{Scene, Setting};

const ROUND_TRIP: Duration = Duration::from_millis(80);
const REQUESTS: usize = 40;
/// Beyond the round trip, in milliseconds.
const OVERHEAD_MAX: f64 = 3.0;

pub(crate) async fn measure(scene: &Scene, report: &mut Report) -> Result<()> {
    say("strong read and write with token, the primary 80 ms away");
    let line = DelayProxy::start(scene.cluster.primary.address()).await?;
    line.set_round_trip(ROUND_TRIP);
    let setting = Setting {
        database_url: Some(scene.cluster.primary.url_at(line.address())),
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
            format!("p50 {p50:.2} ms, p99 {p99:.2} ms"),
            "p50 ≤ 83 ms",
            p50 <= most,
        );
    }
    Ok(())
}
