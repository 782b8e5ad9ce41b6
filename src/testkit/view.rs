//! The display of the demo: the map, lines to paste, and a live line for each region.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use reqwest::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::http_client;
use super::screen::Screen;
use super::world::{Region, World};
use tidegate_telemetry::Exposition;

/// How often the lines are replaced on a terminal.
const PERIOD_LIVE: Duration = Duration::from_secs(1);
/// How often lines are added where they cannot be replaced.
const PERIOD_APPENDED: Duration = Duration::from_secs(5);

/// Shows which region is where.
pub(super) fn print_map(world: &World, screen: &mut Screen) -> Result<()> {
    screen.print("")?;
    for region in &world.regions {
        let url = region.gateway.url("");
        let place = match region.replica {
            None => "the primary".to_owned(),
            Some(_) => format!(
                "a replica; {} ms to the primary",
                region.round_trip.as_millis()
            ),
        };
        screen.print(&format!("  {:<15} {url:<23} {place}", region.name))?;
    }
    screen.print("")
}

/// Lines to paste into another terminal.
pub(super) fn print_invitation(world: &World, screen: &mut Screen) -> Result<()> {
    let [us, eu, ap] = &world.regions[..] else {
        bail!("the world has three regions")
    };
    let replica = eu
        .replica
        .map(|index| world.cluster.replicas[index].url())
        .unwrap_or_default();
    let psql = world.cluster.psql();
    let steer = |what| {
        let path = format!("/admin/nodes/{}/{what}", eu.name);
        eu.gateway.admin_url(&path)
    };
    screen.print(&format!(
        r#"Paste these into another terminal:

  # near: the replica beside the gateway answers; the second time, memory does
  curl -i {rates_eu}
  # fresh: the primary answers, 80 ms away
  curl -i -H 'X-Consistency: strong' {rates_eu}
  # a write from far away, then what it left
  JWT={jwt}
  curl -i -H "Authorization: Bearer $JWT" -H "Idempotency-Key: $RANDOM$RANDOM" \
       -H 'Content-Type: application/json' -d '{{"to": "bob", "currency": "USD", "amount": "12.50"}}' {transfers_ap}
  curl -i -H "Authorization: Bearer $JWT" {balances_us}
  # break a replica, watch it turn 503, mend it
  {psql} '{replica}' -c 'select pg_wal_replay_pause()'
  curl -i {health_eu}
  {psql} '{replica}' -c 'select pg_wal_replay_resume()'
  # take it out of the order, look who serves in its place, put it back
  ADMIN_TOKEN={admin_token}
  curl -H "Authorization: Bearer $ADMIN_TOKEN" -X POST {drain}
  curl -i {rates_eu}?a=1
  curl -H "Authorization: Bearer $ADMIN_TOKEN" -X POST {undrain}
  # hand its requests to the next region for a minute
  curl -H "Authorization: Bearer $ADMIN_TOKEN" -X POST '{drain_region}'
  curl -i -H 'X-Consistency: strong' {rates_eu}

Ctrl-C ends it all.
"#,
        rates_eu = eu.gateway.url("/api/v1/rates/EUR/USD"),
        jwt = world.jwt,
        transfers_ap = ap.gateway.url("/api/v1/transfers"),
        balances_us = us.gateway.url("/account/balances"),
        health_eu = eu.gateway.url("/health/edge"),
        admin_token = world.admin_token,
        drain = steer("drain"),
        drain_region = eu
            .gateway
            .admin_url(&format!("/admin/regions/{}/drain?for=1m", eu.name)),
        undrain = steer("undrain"),
    ))
}

/// Shows lag and traffic until a gateway fails. One that its user has killed or ended is shown as such: the others
/// serve in its place.
pub(super) async fn watch(mut world: World, screen: &mut Screen) -> Result<()> {
    let client = http_client::client()?;
    let mut ticks = interval(if screen.is_live() {
        PERIOD_LIVE
    } else {
        PERIOD_APPENDED
    });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut meters = vec![Meter::default(); world.regions.len()];
    loop {
        ticks.tick().await;
        let mut lines = Vec::new();
        for (region, meter) in world.regions.iter_mut().zip(&mut meters) {
            if let Some(status) = region.gateway.ended()? {
                if status.success() || status.signal() == Some(Signal::SIGKILL as i32) {
                    lines.push(format!("  {:<14}  has ended: {status}", region.name));
                    continue;
                }
                bail!(
                    "the gateway of {} ended: {status}\n{}",
                    region.name,
                    region.gateway.log()
                );
            }
            lines.push(line(region, meter, &client).await);
        }
        screen.refresh(&lines)?;
    }
}

async fn line(region: &Region, meter: &mut Meter, client: &Client) -> String {
    match page(region, client).await {
        Ok(page) => describe(region, &page, meter),
        Err(error) => format!("  {:<15} {error:#}", region.name),
    }
}

async fn page(region: &Region, client: &Client) -> Result<Exposition> {
    let response = client
        .get(region.gateway.admin_url("/metrics"))
        .send()
        .await;
    let response = response.and_then(reqwest::Response::error_for_status);
    let page = response.context("no metrics")?.text().await?;
    Ok(Exposition::new(&page))
}

fn describe(region: &Region, page: &Exposition, meter: &mut Meter) -> String {
    let node = if region.replica.is_some() {
        region.name
    } else {
        "primary"
    };
    let labels = [("node", node)];
    let condition = page.variant("tidegate_node_condition", &labels, "condition");
    let seconds = |metric| match page.sum(metric, &labels) {
        Some(seconds) if seconds.is_finite() => format!("{seconds:.3} s"),
        _ => "–".to_owned(),
    };
    let total = page.sum("tidegate_requests_total", &[]).unwrap_or(0.0);
    // Below 80 columns: a line that wraps could not be replaced.
    format!(
        "  {:<14}  {:<12}  lag {:>8}  staleness {:>8} {:>7.1} req/s",
        region.name,
        condition.as_deref().unwrap_or("unknown"),
        seconds("tidegate_replication_lag_seconds"),
        seconds("tidegate_staleness_seconds"),
        meter.rate(total),
    )
}

/// Turns a counter into a rate.
#[derive(Clone, Default)]
struct Meter(Option<(Instant, f64)>);

impl Meter {
    fn rate(&mut self, total: f64) -> f64 {
        let now = Instant::now();
        match self.0.replace((now, total)) {
            Some((then, before)) => (total - before) / (now - then).as_secs_f64(),
            None => 0.0,
        }
    }
}
