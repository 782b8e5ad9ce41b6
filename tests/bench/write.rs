//! Writes, each with its token, compared with `pgbench` on the same primary with the same statement: 64
//! clients through the gateway, all cores shared by all.

use anyhow::{Context, Result};
use serde_json::json;

use super::contest::{Contender, Pace, Rounds, hold};
use super::cores::watched;
use super::load::{Pgbench, Wrk, client};
use super::process::file;
use super::report::{Report, say};
use super::scene::{Scene, Setting};

/// Connections of `pgbench`, of which the better number counts: many wait for one another.
const CONNECTIONS: [usize; 2] = [16, 64];
const TARGET: f64 = 0.8;

const REQUEST: &str = "
wrk.method = 'POST'
wrk.headers['Content-Type'] = 'application/json'
wrk.body = '{\"text\":\"measured\"}'
";

/// The statement of `/marks` as the gateway prepares it.
const SAME: &str = "\\set text random(1, 100000000)\n\
    with tidegate as materialized \
    (insert into marks (text) values (:text) returning id\n) \
    select row_to_json(tidegate)::text from tidegate limit 1;\n";

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("write with token, all cores shared");
    // The connections of `pgbench` are new in every round, and so are their caches.
    let pace = &pace.slower();
    let gateway = scene.gateway(&Setting::default()).await?;
    let url = gateway.url("/marks");
    carries_token(&url).await?;
    let wrk = Wrk {
        url: url.clone(),
        seconds: pace.seconds,
        core: None,
        script: Some(file(&scene.directory, "marks.lua", REQUEST)?),
    };
    let script = file(&scene.directory, "marks.sql", SAME)?;
    let mut contenders = vec![watched("tidegate", wrk, &gateway.server)];
    for clients in CONNECTIONS {
        let load = Pgbench {
            script: script.clone(),
            seconds: pace.seconds,
            url: scene.cluster.primary.url(),
            protocol: "prepared",
            clients,
        };
        let name = format!("pgbench -M prepared, {clients} connections");
        contenders.push(Contender::pgbench(name, load));
    }
    let rounds = hold(pace, &contenders).await?;
    carries_token(&url).await?;
    // What is measured next must not wait for their replay, nor share a core with their vacuum.
    scene.cluster.primary.execute("truncate marks").await?;
    scene.cluster.wait_for_replicas().await?;
    conclude(&rounds, report);
    report.detail(
        &format!(
            "Write with token: fsync off, all cores shared by all, {} rounds of {} s",
            pace.rounds, pace.seconds
        ),
        &rounds,
    );
    Ok(())
}

async fn carries_token(url: &str) -> Result<()> {
    let write = client()?.post(url).json(&json!({ "text": "measured" }));
    let answer = write.send().await?.error_for_status()?;
    let token = answer.headers().get("x-consistency-token");
    token.context("a write carries a token")?;
    Ok(())
}

fn conclude(rounds: &[Rounds], report: &mut Report) {
    let [through, few, many] = rounds else {
        unreachable!("as many as contenders")
    };
    let direct = match few.per_second > many.per_second {
        true => few,
        false => many,
    };
    let ratio = through.against(direct);
    report.row(
        "write with token, 64 clients, cores shared, against `pgbench` directly, same statement, the \
         better of 16 and 64 connections",
        format!(
            "{:.0}/s to {:.0}/s ({}): **{ratio:.2} ×**; p99 {:.2} ms, the gateway at {:.2} cores",
            through.per_second,
            direct.per_second,
            direct.name,
            through.p99_ms,
            through.cores(),
        ),
        format!("≥ {TARGET:.1} ×"),
        ratio >= TARGET,
    );
}
