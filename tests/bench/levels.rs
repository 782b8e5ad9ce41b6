//! Reads by primary key at the levels that promise more than `eventual`, compared with `pgbench` on the
//! node that serves them, with the same statement: 64 clients each, all cores shared by all.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::RequestBuilder;
use serde_json::json;

use super::contest::{Contender, Pace, Rounds, hold};
use super::load::{Wrk, client};
use super::process::file;
use super::replica_read::{ACCOUNT, ACCOUNT_BODY, Statements, compared, random_accounts};
use super::report::{Report, say};
use super::scene::{Gateway, Scene, Setting};

const LEVELS: [Level; 3] = [
    Level {
        name: "session",
        stated: "session",
        has_token: true,
        node: "replica",
    },
    Level {
        name: "bounded",
        stated: "bounded;max-staleness=10",
        has_token: false,
        node: "replica",
    },
    Level {
        name: "strong",
        stated: "strong",
        has_token: false,
        node: "primary",
    },
];
const TARGET: f64 = 0.9;

/// A replica replays a write in milliseconds; this is for a busy machine.
const SERVED_DEADLINE: Duration = Duration::from_secs(10);

/// How a read states its level.
struct Level {
    name: &'static str,
    stated: &'static str,
    /// Whether it carries the token of a write.
    has_token: bool,
    /// The node that must serve it.
    node: &'static str,
}

impl Level {
    /// The script of `wrk` that reads accounts at random at this level.
    fn requests(&self, token: &str) -> String {
        let accounts = random_accounts();
        let stated = self.stated;
        let token = match self.has_token {
            true => format!("wrk.headers['X-Consistency-Token'] = '{token}'\n"),
            false => String::new(),
        };
        format!("wrk.headers['X-Consistency'] = '{stated}'\n{token}{accounts}")
    }

    /// Waits until its node serves it.
    async fn is_served(&self, gateway: &Gateway, token: &str) -> Result<()> {
        let client = client()?;
        let request = || -> RequestBuilder {
            let request = client.get(gateway.url(ACCOUNT));
            let request = request.header("X-Consistency", self.stated);
            match self.has_token {
                true => request.header("X-Consistency-Token", token),
                false => request,
            }
        };
        let (level, node) = (
            format!("level={}", self.name),
            format!("node={}", self.node),
        );
        let served = async || {
            let response = request().send().await?.error_for_status()?;
            let status = response.headers()["consistency-status"]
                .to_str()?
                .to_owned();
            ensure!(
                status.contains(&level) && status.contains(&node),
                "{status}"
            );
            let body = response.text().await?;
            ensure!(body == ACCOUNT_BODY, "{body}");
            Ok(Some(()))
        };
        let what = format!("the {} serves a {} read", self.node, self.name);
        tidegate::testkit::until(&what, SERVED_DEADLINE, served).await
    }

    /// The part of the reads at this level that another node has served: a replica whose staleness is not
    /// proven in time is passed over.
    fn elsewhere(&self, metrics: &str) -> f64 {
        let level = format!("level=\"{}\"", self.name);
        let (mut all, mut elsewhere) = (0.0, 0.0);
        for line in metrics.lines() {
            if !line.starts_with("tidegate_decisions_total{") || !line.contains(&level) {
                continue;
            }
            let number = line.rsplit(' ').next();
            let number = number.and_then(|text| text.parse::<f64>().ok());
            let number = number.unwrap_or(f64::NAN);
            let by_primary = line.contains("node=\"primary\"");
            all += number;
            if by_primary != (self.node == "primary") {
                elsewhere += number;
            }
        }
        elsewhere / all
    }
}

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("session, bounded and strong reads by primary key, all cores shared");
    // The connections of `pgbench` are new in every round, and so are their caches.
    let pace = &pace.slower();
    let gateway = scene.gateway(&Setting::default()).await?;
    let token = token(&gateway).await?;
    let mut contenders = Vec::new();
    for level in &LEVELS {
        level.is_served(&gateway, &token).await?;
        let script = format!("{}.lua", level.name);
        let wrk = Wrk {
            url: gateway.url(ACCOUNT),
            seconds: pace.seconds,
            core: None,
            script: Some(file(&scene.directory, &script, &level.requests(&token))?),
        };
        contenders.push(Contender::server(format!("tidegate, {}", level.name), wrk));
    }
    let Statements { same, plain } = Statements::write(&scene.directory)?;
    for (node, url) in [
        ("replica", scene.cluster.replicas[0].url()),
        ("primary", scene.cluster.primary.url()),
    ] {
        for (what, script) in [("same statement", &same), ("select abalance alone", &plain)] {
            let name = format!("pgbench -M prepared, {node}, {what}");
            contenders.push(Contender::postgres(name, script.clone(), pace, url.clone()));
        }
    }
    let rounds = hold(pace, &contenders).await?;
    for level in &LEVELS {
        level.is_served(&gateway, &token).await?;
    }
    let metrics = format!("{}/metrics", gateway.admin);
    let metrics = client()?.get(metrics).send().await?.text().await?;
    conclude(&rounds, &metrics, report);
    report.detail(
        &format!(
            "Reads that promise more: all cores shared by all, {} rounds of {} s",
            pace.rounds, pace.seconds
        ),
        &rounds,
    );
    Ok(())
}

fn conclude(rounds: &[Rounds], metrics: &str, report: &mut Report) {
    let [reads @ .., replica, replica_plain, primary, primary_plain] = rounds else {
        unreachable!("as many as contenders")
    };
    for (level, read) in LEVELS.iter().zip(reads) {
        let Level { name, node, .. } = level;
        let (same, plain) = match *node {
            "primary" => (primary, primary_plain),
            _ => (replica, replica_plain),
        };
        report.row(
            format!(
                "{name} read by primary key, 64 connections, cores shared, against `pgbench -M prepared` \
                 connected to the {node} directly, same statement"
            ),
            format!(
                "{}; {:.1} % not served by the {node}",
                compared(read, same, plain),
                level.elsewhere(metrics) * 100.0
            ),
            format!("≥ {TARGET:.1} ×"),
            read.against(same) >= TARGET,
        );
    }
}

/// The token of a write.
async fn token(gateway: &Gateway) -> Result<String> {
    let write = client()?.post(gateway.url("/marks"));
    let write = write.json(&json!({ "text": "measured" })).send().await?;
    let write = write.error_for_status()?;
    let token = write.headers().get("x-consistency-token");
    let token = token.context("a write carries a token")?;
    Ok(token.to_str()?.to_owned())
}
