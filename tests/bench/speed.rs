//! Tidegate compared with its alternatives, in one run on one machine.
//!
//! `make bench` runs everything and writes `RESULTS.md`; `make bench ONLY=cached` runs the
//! measurements whose names start with that and writes nothing. All servers listen on loopback,
//! loads are bounded in time and clients, and the contenders alternate round by round, so that a
//! slow moment of the machine affects both sides.

mod bare;
mod bucket;
mod cached;
mod contest;
mod cores;
mod decision;
mod far;
mod fleet;
mod footprint;
mod growth;
mod health;
mod levels;
mod load;
mod machine;
mod nginx;
mod peers;
mod pgbouncer;
mod process;
mod proxied;
mod replica_read;
mod report;
mod scene;
mod storage;
mod tls;
mod write;

use anyhow::{Result, bail};

use contest::Pace;
use machine::Machine;
use report::Report;
use scene::Scene;

const USAGE: &str = "usage: bench [--only NAME] [--rounds N] [--seconds N]";

/// The measurements to run.
struct Plan {
    only: Option<String>,
    pace: Pace,
}

impl Plan {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self {
            only: None,
            pace: Pace::default(),
        };
        // Cargo passes `--bench` to every bench, after the user's arguments.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), arguments.next()) {
                ("--only", Some(name)) => plan.only = Some(name),
                ("--rounds", Some(number)) => plan.pace.rounds = number.parse()?,
                ("--seconds", Some(number)) => plan.pace.seconds = number.parse()?,
                _ => bail!(USAGE),
            }
        }
        Ok(plan)
    }

    fn has(&self, name: &str) -> bool {
        let only = self.only.as_deref();
        only.is_none_or(|only| name.starts_with(only))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if let Some(role) = arguments.peek().and_then(|first| bare::Role::of(first)) {
        return bare::serve(role, arguments.skip(1)).await;
    }
    let plan = Plan::parse(arguments)?;
    let _first_provider = rustls::crypto::ring::default_provider().install_default();
    peers::install_missing()?;
    let machine = Machine::look()?;
    let mut report = Report::new(&machine, &plan.pace);
    // First, while nothing else has warmed the machine up.
    if plan.has("decision") {
        decision::measure(&mut report).await?;
    }
    if plan.has("fleet") {
        fleet::measure(&plan.pace, &mut report).await?;
    }
    // The others need databases.
    if plan.only.as_deref() == Some("fleet") {
        report.print();
        return Ok(());
    }
    let scene = Scene::start().await?;
    if plan.has("cached") {
        cached::measure(&scene, &machine, &plan.pace, &mut report).await?;
    }
    if plan.has("proxied") {
        proxied::measure(&scene, &machine, &plan.pace, &mut report).await?;
    }
    if plan.has("tls") {
        tls::measure(&scene, &machine, &plan.pace, &mut report).await?;
    }
    measure_statements(&plan, &scene, &mut report).await?;
    if plan.has("far") {
        far::measure(&scene, &mut report).await?;
    }
    if plan.has("health") {
        health::measure(&scene, &mut report).await?;
    }
    if plan.has("start") {
        footprint::measure_start(&scene, &mut report).await?;
    }
    if plan.has("memory") {
        footprint::measure_memory(&scene, &mut report).await?;
    }
    if plan.has("storage") {
        storage::measure(&scene, &plan.pace, &mut report).await?;
    }
    if plan.has("growth") {
        growth::measure(&scene, &machine, &plan.pace, &mut report).await?;
    }
    report.print();
    if plan.only.is_none() {
        report.write()?;
    }
    Ok(())
}

/// Reads and writes, beside `pgbench`.
async fn measure_statements(plan: &Plan, scene: &Scene, report: &mut Report) -> Result<()> {
    if plan.has("read") {
        replica_read::measure(scene, &plan.pace, report).await?;
    }
    if plan.has("levels") {
        levels::measure(scene, &plan.pace, report).await?;
    }
    if plan.has("pgbouncer") {
        pgbouncer::measure(scene, &plan.pace, report).await?;
    }
    if plan.has("write") {
        write::measure(scene, &plan.pace, report).await?;
    }
    Ok(())
}
