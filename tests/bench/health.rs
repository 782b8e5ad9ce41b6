//! The probe, while every connection of every pool is busy and requests wait for one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::load::{Wrk, client, percentile_ms};
use super::process::file;
use super::report::{Report, say};
use super::scene::{Scene, Setting};

const SECONDS: u32 = 5;
/// Rare enough not to be a load itself.
const PAUSE: Duration = Duration::from_millis(2);
const P99_MAX_MS: f64 = 2.0;

/// Clients that wait for as long as the last `Retry-After` says.
const PATIENT: &str = "
local wait = 0
response = function(status, headers)
    local told = headers['retry-after'] or headers['Retry-After']
    if told then wait = 1000 * tonumber(told) end
end
delay = function() return wait end
";

pub(crate) async fn measure(scene: &Scene, report: &mut Report) -> Result<()> {
    say("/health/edge while the pools are saturated");
    let patient = file(&scene.directory, "patient.lua", PATIENT)?;
    let taken = probe(scene, Some(patient)).await?;
    let p99 = percentile_ms(&taken, 99);
    report.row(
        "`/health/edge` while the pools are saturated",
        described(&taken),
        "p99 ≤ 2 ms",
        p99 <= P99_MAX_MS,
    );
    let taken = probe(scene, None).await?;
    report.row(
        "the same, while 64 clients ask again the moment they are told `Retry-After`, on the same cores",
        described(&taken),
        "–",
        true,
    );
    Ok(())
}

fn described(taken: &[Duration]) -> String {
    let (p50, p99) = (percentile_ms(taken, 50), percentile_ms(taken, 99));
    let described = format!("p50 {p50:.2} ms, p99 {p99:.2} ms of {}", taken.len());
    say(&format!("  {described}"));
    described
}

/// How long probes took under a load with a given reaction to refusals, sorted.
async fn probe(scene: &Scene, script: Option<PathBuf>) -> Result<Vec<Duration>> {
    let setting = Setting {
        sections: "[pool]\nconnections_max = 4\n".to_owned(),
        ..Setting::default()
    };
    let gateway = scene.gateway(&setting).await?;
    let slow = gateway.url("/slow");
    // Its own answers do not count: many requests give up waiting.
    let load = tokio::spawn(async move {
        let wrk = Wrk {
            url: slow,
            seconds: SECONDS + 1,
            core: None,
            script,
        };
        wrk.run().await
    });
    let client = client()?;
    let waiting = format!("{}/metrics", gateway.admin);
    let saturated = async || {
        let page = client.get(&waiting).send().await?.text().await?;
        let all = page
            .lines()
            .filter(|line| line.starts_with("tidegate_pool_waiting"));
        let all = all.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok((all.sum::<f64>() > 0.0).then_some(()))
    };
    tidegate::testkit::until(
        "requests wait for connections",
        Duration::from_secs(5),
        saturated,
    )
    .await?;
    let mut taken = Vec::new();
    while !load.is_finished() {
        let start = tokio::time::Instant::now();
        let response = client.get(gateway.url("/health/edge")).send().await?;
        ensure!(response.status().is_success(), "{}", response.status());
        response.bytes().await?;
        taken.push(start.elapsed());
        sleep(PAUSE).await;
    }
    taken.sort_unstable();
    Ok(taken)
}
