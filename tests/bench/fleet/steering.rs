//! What steering adds beside the way: in the second after a region is lost, and when too much arrives.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::paced::{Load, Stretch};
use super::pair::{Pair, REGIONS};
use crate::report::Report;

const PATH: &str = "/app/x";
const BAR_MS: f64 = 10.0;

/// What the application takes in the burst, how many it is asked for at a time, and what it serves so.
const TAKES: Duration = Duration::from_millis(50);
const AT_ONCE: u32 = 25;
const CAPACITY: u32 = 500;

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    failover(report).await?;
    burst(report).await
}

async fn failover(report: &mut Report) -> Result<()> {
    let app = Router::new().fallback(|| async { "x" });
    let pair = Pair::start(["", ""], app).await?;
    let load = Load {
        address: pair.gateways[0].address,
        path: PATH,
        per_second: 500,
        connections: 16,
    };
    let [_, second] = pair.pids()?;
    let running = tokio::spawn(load.run(Duration::from_secs(4)));
    sleep(Duration::from_secs(2)).await;
    let killed = Instant::now();
    kill(Pid::from_raw(second.try_into()?), Signal::SIGKILL)?;
    let stretch = running.await??;
    pair.until_served_in(REGIONS[0]).await?;
    let failed = stretch.answers.len() - stretch.count(200);
    ensure!(failed == 0, "{failed} requests failed");
    let after = stretch.answers.iter();
    let after = after.filter(|it| (killed..killed + Duration::from_secs(1)).contains(&it.sent));
    let second = Stretch {
        answers: after.copied().collect(),
        is_sound: stretch.is_sound,
    };
    let calm = Stretch {
        answers: stretch
            .answers
            .into_iter()
            .filter(|it| it.sent < killed)
            .collect(),
        is_sound: stretch.is_sound,
    };
    let (before, after) = (calm.percentile_ms(200, 99), second.percentile_ms(200, 99));
    report.row(
        format!(
            "p99 of 500 requests/s handed on, and in the second after the other region was killed{}",
            note(&calm)
        ),
        format!("{before:.2} ms; **{after:.2} ms**, none failed"),
        "≤ 10 ms",
        before <= BAR_MS && after <= BAR_MS,
    );
    Ok(())
}

async fn burst(report: &mut Report) -> Result<()> {
    let app = Router::new().fallback(|| async {
        sleep(TAKES).await;
        "x"
    });
    let few = format!("requests_max = {AT_ONCE}\n");
    // In both: what enters in the first region is handed on, and what the second refuses comes back.
    let pair = Pair::start([&few, &few], app).await?;
    let load = |per_second| Load {
        address: pair.gateways[0].address,
        path: PATH,
        per_second,
        // Each has one request under way: as many as the burst needs.
        connections: 2 * AT_ONCE,
    };
    let _warm = load(CAPACITY / 2).run(Duration::from_secs(1)).await?;
    let stretch = load(2 * CAPACITY).run(Duration::from_secs(1)).await?;
    ensure!(stretch.count(503) > 0, "twice the capacity was served");
    let served = stretch.percentile_ms(200, 99) - TAKES.as_secs_f64() * 1e3;
    let shed = stretch.percentile_ms(503, 99);
    report.row(
        format!(
            "a burst of twice the capacity for a second: p99 beside the application's time, and of what is \
             refused{}",
            note(&stretch)
        ),
        format!(
            "**{served:.2} ms** of {}; **{shed:.2} ms** of {}",
            stretch.count(200),
            stretch.count(503)
        ),
        "≤ 10 ms",
        served <= BAR_MS && shed <= BAR_MS,
    );
    Ok(())
}

fn note(stretch: &Stretch) -> &'static str {
    match stretch.is_sound {
        true => "",
        false => " (the machine did not keep time)",
    }
}
