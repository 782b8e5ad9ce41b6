//! Reads by primary key through the gateway, compared with `pgbench` on the same replica with the
//! same statement: 64 clients each, all cores shared by all.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::contest::{Contender, Pace, Rounds, hold};
use super::load::{Wrk, client};
use super::process::file;
use super::report::{Report, say};
use super::scene::{ACCOUNTS, READ, Scene, Setting};

const RANDOM_AID: &str = "\\set aid random(1, 100000)\n";

/// The account that is read by itself, and its answer.
pub(crate) const ACCOUNT: &str = "/accounts/7";
pub(crate) const ACCOUNT_BODY: &str = r#"{"aid":7,"bid":1,"abalance":0}"#;

const TARGET: f64 = 1.1;

/// Ten thousand requests made in advance, so that Lua does not dominate the measurement.
const RANDOM_ACCOUNTS: &str = "
local requests, last = {}, 0
init = function(arguments)
    math.randomseed(tonumber(tostring({}):sub(8), 16))
    for number = 1, 10000 do
        requests[number] = wrk.format('GET', '/accounts/' .. math.random(1, ACCOUNTS))
    end
end
request = function()
    last = last % 10000 + 1
    return requests[last]
end
";

/// The script of `wrk` that reads accounts at random.
pub(crate) fn random_accounts() -> String {
    RANDOM_ACCOUNTS.replace("ACCOUNTS", &ACCOUNTS.to_string())
}

/// The scripts of `pgbench` that do the same.
pub(crate) struct Statements {
    /// The statement as the gateway prepares it.
    pub(crate) same: PathBuf,
    /// That of `pgbench -S`.
    pub(crate) plain: PathBuf,
}

impl Statements {
    pub(crate) fn write(directory: &TempDir) -> Result<Self> {
        let plain = "select abalance from accounts where aid = :aid";
        let script =
            |name: &str, text: &str| file(directory, name, &format!("{RANDOM_AID}{text};\n"));
        Ok(Self {
            same: script("same.sql", READ)?,
            plain: script("plain.sql", plain)?,
        })
    }
}

/// Rates and ratios of reads through the gateway, to both statements.
pub(crate) fn compared(through: &Rounds, same: &Rounds, plain: &Rounds) -> String {
    format!(
        "{:.0}/s to {:.0}/s: **{:.2} ×**; {:.2} × `select abalance` alone, as with `-S`",
        through.per_second,
        same.per_second,
        through.against(same),
        through.against(plain),
    )
}

pub(crate) async fn measure(scene: &Scene, pace: &Pace, report: &mut Report) -> Result<()> {
    say("replica read by primary key, all cores shared");
    // The connections of `pgbench` are new in every round, and so are their caches.
    let pace = &pace.slower();
    let gateway = scene.gateway(&Setting::default()).await?;
    let url = gateway.url(ACCOUNT);
    let read = client()?.get(&url).send().await?;
    let status = read.headers()["consistency-status"].to_str()?.to_owned();
    ensure!(status.contains("node=replica"), "{status}");
    let body = read.text().await?;
    ensure!(body == ACCOUNT_BODY, "{body}");
    let wrk = Wrk {
        url,
        seconds: pace.seconds,
        core: None,
        script: Some(file(&scene.directory, "accounts.lua", &random_accounts())?),
    };
    let Statements { same, plain } = Statements::write(&scene.directory)?;
    let replica = || scene.cluster.replicas[0].url();
    let direct = |name: &str, script| Contender::postgres(name, script, pace, replica());
    let contenders = [
        Contender::server("tidegate", wrk),
        direct("pgbench -M prepared, same statement", same),
        direct("pgbench -M prepared, select abalance alone", plain),
    ];
    let rounds = hold(pace, &contenders).await?;
    let [through, same, plain] = &rounds[..] else {
        unreachable!("as many as contenders")
    };
    report.row(
        "eventual read by primary key, 64 connections, cores shared, against `pgbench -M prepared` \
         connected to the replica directly, same statement",
        compared(through, same, plain),
        format!("≥ {TARGET:.1} ×"),
        through.against(same) >= TARGET,
    );
    report.detail(
        &format!(
            "Replica read by primary key: all cores shared by all, {} rounds of {} s",
            pace.rounds, pace.seconds
        ),
        &rounds,
    );
    Ok(())
}
